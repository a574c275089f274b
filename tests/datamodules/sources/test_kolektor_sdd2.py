"""The quirks of KolektorSDD2, on fake files."""

from pathlib import Path

import pytest

from datamodules.preparing.inspection import inspect
from datamodules.sources.kolektor_sdd2 import KolektorSdd2
from tests.datamodules.sources.layouts.kolektor_sdd2 import write


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def test_stray_copies_in_the_archive_are_left_out(root):
    images = [record.image for record in KolektorSdd2().records(root)]
    assert images == ["train/10000.png", "train/10301.png", "test/20000.png", "test/20003.png"]


def test_records_claim_nothing_before_the_mask_is_seen(root):
    assert not any(record.defects for record in KolektorSdd2().records(root))


def test_the_mask_tells_who_is_defective(root):
    seen = [inspect(record, root).record for record in KolektorSdd2().records(root)]
    assert [record.defects for record in seen] == [(), ("defect",), ("defect",), ()]
    assert [record.caption.defect for record in seen] == ["", "defect", "defect", ""]


def test_missing_ground_truth_is_a_flaw_not_a_good_part(root):
    (root / "test/20003_GT.png").unlink()
    last = KolektorSdd2().records(root)[-1]
    assert inspect(last, root).problem == ("test/20003.png has no 20003_GT.png: take the set again")
