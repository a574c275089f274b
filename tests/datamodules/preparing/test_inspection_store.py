"""Finished inspections survive a kill and are forgotten when their file changes."""

import os
from pathlib import Path

import numpy as np
import pytest

from datamodules.preparing.inspection import Inspection, inspect
from datamodules.preparing.inspection_pool import inspect_all
from datamodules.preparing.inspection_store import FILE_NAME, InspectionStore, key_of
from tests.datamodules.conftest import write_part


@pytest.fixture
def store(tmp_path: Path) -> InspectionStore:
    return InspectionStore(tmp_path / "out")


def same(first: Inspection, second: Inspection) -> bool:
    assert first.fingerprint is not None and second.fingerprint is not None
    return (first.record, first.problem, first.notes) == (
        second.record,
        second.problem,
        second.notes,
    ) and np.array_equal(first.fingerprint.thumbnail, second.fingerprint.thumbnail)


def test_inspection_comes_back_as_it_was(store, tmp_path):
    record = write_part(tmp_path, 1)
    seen, key = inspect(record, tmp_path), key_of(record, tmp_path)
    store.save([(key, seen)])
    found = InspectionStore(tmp_path / "out").find(key)
    assert found is not None
    assert same(found, seen)


def test_changed_file_is_looked_at_again(store, tmp_path):
    record = write_part(tmp_path, 1)
    key = key_of(record, tmp_path)
    os.utime(tmp_path / record.image, ns=(1, 1))
    assert key_of(record, tmp_path) != key


def test_finished_pictures_are_not_opened_again(store, tmp_path):
    records = [write_part(tmp_path, k) for k in range(5)]
    first = inspect_all(records, tmp_path, store=store, workers=1)
    counts: list[int] = []
    second = inspect_all(
        records, tmp_path, store=store, workers=1, progress=lambda done, _: counts.append(done)
    )
    assert counts == []
    assert all(same(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize("workers", [1, 3])
def test_order_is_that_of_the_records_for_any_number_of_workers(store, tmp_path, workers):
    records = [write_part(tmp_path, k) for k in range(150)]
    seen = inspect_all(records, tmp_path, store=store, workers=workers)
    assert [one.record.image for one in seen] == [record.image for record in records]


def test_file_that_is_no_database_is_one_line_with_the_remedy(tmp_path):
    (tmp_path / FILE_NAME).write_text("hello " * 100)
    with pytest.raises(OSError, match="remove it"):
        InspectionStore(tmp_path)
