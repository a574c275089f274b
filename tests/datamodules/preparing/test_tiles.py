"""Large images as tiles that know their place."""

from dataclasses import replace

import numpy as np
import pytest

from datamodules.captions import Caption
from datamodules.preparing.inspection import inspect
from datamodules.preparing.tiles import tile_records
from datamodules.sample import Record, Region
from tests.datamodules.conftest import write_part

BIG = replace(
    Record("big.png", "", (), (), Caption("plate"), "big", "parts"), width_px=250, height_px=90
)


def test_tiles_cover_every_pixel_and_overlap_enough():
    covered = np.zeros((90, 250), int)
    tiles = tile_records(BIG, tile_px=100, overlap_px=20)
    for tile in tiles:
        left, top, width, height = tile.window_xywh_px
        covered[top : top + height, left : left + width] += 1
    assert covered.min() == 1
    assert [tile.window_xywh_px[0] for tile in tiles] == [0, 80, 150]
    assert {tile.group for tile in tiles} == {"big"}


BOXED = replace(BIG, defects=("a", "b"), regions=(Region("a", "box", (1, 1, 9, 9)),))


@pytest.mark.parametrize(
    ("record", "tile_px"), [(BIG, 250), (replace(BIG, defects=("a",)), 100), (BOXED, 100)]
)
def test_small_image_and_one_with_a_defect_that_has_no_outline_stay_whole(record, tile_px):
    assert tile_records(record, tile_px=tile_px, overlap_px=20) == [record]


def test_only_the_tile_with_the_defect_is_defective(tmp_path):
    record = inspect(write_part(tmp_path, 1, size_px=(40, 120)), tmp_path).record
    tiles = [inspect(t, tmp_path).record for t in tile_records(record, tile_px=40, overlap_px=0)]
    assert [tile.defects for tile in tiles] == [("crack",), (), ()]
    assert [bool(tile.caption.defect) for tile in tiles] == [True, False, False]
    assert [(tile.width_px, tile.height_px) for tile in tiles] == [(40, 40)] * 3


def test_place_in_the_caption_is_that_in_the_tile(tmp_path):
    part = write_part(tmp_path, 1, size_px=(40, 120))
    boxed = replace(part, mask="", regions=(Region("crack", "box", (70, 15, 10, 10)),))
    record = inspect(boxed, tmp_path).record
    tiles = [inspect(t, tmp_path).record for t in tile_records(record, tile_px=40, overlap_px=0)]
    assert tiles[1].caption.location == "the right"


@pytest.mark.parametrize(("tile_px", "overlap_px"), [(64, 64), (64, -1), (0, 0)])
def test_overlap_must_be_smaller_than_the_tile(tile_px, overlap_px):
    with pytest.raises(ValueError, match="choose a larger --tile_px"):
        tile_records(BIG, tile_px=tile_px, overlap_px=overlap_px)
