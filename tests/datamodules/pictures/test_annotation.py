"""What annotation a record opens to: a mask file, regions, all good, or none."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datamodules.pictures.annotation import open_annotation, open_pair
from datamodules.sample import UNLABELLED, Record, Region
from datamodules.vocabulary import Vocabulary
from tests.datamodules.conftest import TYPES, write_part

NAMES = Vocabulary.from_names(TYPES)
SIZE_PX = (40, 60)


def drawn(record: Record, root: Path) -> np.ndarray | None:
    return open_annotation(record, root, vocabulary=NAMES, picture_size_px=SIZE_PX)


@pytest.fixture
def part(tmp_path: Path) -> Record:
    return write_part(tmp_path, 1)


def test_mask_file_becomes_class_ids(part, tmp_path):
    assert np.unique(drawn(part, tmp_path)).tolist() == [0, 1]


def test_regions_become_class_ids(part, tmp_path):
    boxed = replace(part, mask="", regions=(Region("stain", "box", (4, 15, 10, 10)),))
    assert np.array_equal(drawn(boxed, tmp_path) > 0, drawn(part, tmp_path) > 0)


def test_good_part_without_a_mask_is_known_to_be_good(part, tmp_path):
    assert not drawn(replace(part, mask="", defects=()), tmp_path).any()


def test_unlabelled_part_has_no_annotation(part, tmp_path):
    assert drawn(replace(part, mask="", defects=(), split=UNLABELLED), tmp_path) is None


def test_defect_that_nobody_drew_has_no_annotation(part, tmp_path):
    assert drawn(replace(part, mask=""), tmp_path) is None


def test_window_cuts_picture_and_mask_alike(part, tmp_path):
    tile = replace(part, window_xywh_px=(10, 5, 30, 20))
    whole, cut = (open_pair(record, tmp_path, vocabulary=NAMES) for record in (part, tile))
    for pixels, pixels_of_tile in zip(whole, cut, strict=True):
        assert np.array_equal(pixels_of_tile, pixels[5:25, 10:40])


def test_window_outside_the_picture_is_refused(part, tmp_path):
    with pytest.raises(ValueError, match="sticks out"):
        open_pair(replace(part, window_xywh_px=(50, 5, 30, 20)), tmp_path, vocabulary=NAMES)
