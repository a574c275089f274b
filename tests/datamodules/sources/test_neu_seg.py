"""The quirks of NEU-Seg, on fake and on real files."""

from collections import Counter

import numpy as np
import pytest

from datamodules.preparing.inspection import inspect
from datamodules.sources.neu_seg import NeuSeg
from tests.datamodules.sources.layouts.neu_seg import write, write_strip
from tests.datamodules.sources.painting import spot


def test_the_published_split_is_kept(tmp_path):
    write(tmp_path)
    assert [record.split for record in NeuSeg().records(tmp_path)] == ["train"] * 3 + ["test"]


def test_equal_numbers_of_both_splits_are_different_groups(tmp_path):
    write(tmp_path)
    first, *_, last = NeuSeg().records(tmp_path)
    assert first.image[-10:] == last.image[-10:]
    assert first.group != last.group


def test_the_largest_type_of_a_composite_is_dominant(tmp_path):
    write(tmp_path)
    record = inspect(NeuSeg().records(tmp_path)[2], tmp_path).record
    assert record.defects == ("patches", "scratches")
    assert record.caption.defect == "patches and scratches"


def test_unknown_mask_id_is_refused_alone(tmp_path):
    write(tmp_path)
    write_strip(tmp_path, "training", 5, mask=np.full((40, 50), 7), seed=5)
    problems = [inspect(record, tmp_path).problem for record in NeuSeg().records(tmp_path)]
    assert "unknown id 7" in problems.pop(3)
    assert set(problems) == {""}


def test_missing_mask_is_refused_alone(tmp_path):
    write(tmp_path)
    (tmp_path / "annotations/training/000001.png").unlink()
    problems = [inspect(record, tmp_path).problem for record in NeuSeg().records(tmp_path)]
    assert "000001.png is missing" in problems.pop(1)
    assert set(problems) == {""}


@pytest.mark.parametrize("folder", ["images/test", "annotations/training"])
def test_missing_folder_is_one_clear_line(tmp_path, folder):
    write_strip(tmp_path, "training", 1, mask=spot(1), seed=1)
    write_strip(tmp_path, "test", 1, mask=spot(1), seed=2)
    (tmp_path / folder).rename(tmp_path / "elsewhere")
    with pytest.raises(FileNotFoundError, match=f"{folder} is missing or empty: expected"):
        NeuSeg().records(tmp_path)


def test_real_split_is_that_of_its_origin(shared_data):
    splits = Counter(record.split for record in NeuSeg().records(shared_data / "neu_seg"))
    assert splits == {"train": 908, "test": 210}


def test_types_of_real_test_masks_are_those_of_its_origin(shared_data):
    root = shared_data / "neu_seg"
    tested = [record for record in NeuSeg().records(root) if record.split == "test"]
    counts = Counter(frozenset(inspect(record, root).record.defects) for record in tested)
    assert {tuple(sorted(names)): count for names, count in counts.items()} == {
        ("inclusion",): 51,
        ("patches",): 50,
        ("scratches",): 50,
        ("inclusion", "patches"): 20,
        ("inclusion", "scratches"): 19,
        ("patches", "scratches"): 18,
        ("inclusion", "patches", "scratches"): 2,
    }
