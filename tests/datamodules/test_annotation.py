"""What annotation a record opens to: a mask file, boxes, polygons, runs, all good, or none."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.annotation import (
    check_region,
    draw_region,
    draw_regions,
    open_annotation,
    open_mask,
    open_pair,
    runs_of,
)
from datamodules.sample import UNLABELLED, MaskValues, Record, Region
from datamodules.vocabulary import Vocabulary
from tests.datamodules.conftest import TYPES, write_part

PARTS = Vocabulary.from_names(TYPES)
PART_SIZE_PX = (40, 60)
SIZE_PX = (6, 8)
NAMES = Vocabulary.from_names(["crack", "stain"])
VALUES = (MaskValues(1, 1, "crack"), MaskValues(2, 2, "stain"))
RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
IDS = (np.arange(24) % 3).astype(np.uint8).reshape(4, 6)


def saved(image: Image.Image, path: Path) -> Path:
    image.save(path)
    return path


def drawn(record: Record, root: Path) -> np.ndarray | None:
    return open_annotation(record, root, vocabulary=PARTS, image_size_px=PART_SIZE_PX)


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


def test_window_cuts_image_and_mask_alike(part, tmp_path):
    tile = replace(part, window_xywh_px=(10, 5, 30, 20))
    whole, cut = (open_pair(record, tmp_path, vocabulary=PARTS) for record in (part, tile))
    for pixels, pixels_of_tile in zip(whole, cut, strict=True):
        assert np.array_equal(pixels_of_tile, pixels[5:25, 10:40])


def test_window_outside_the_image_is_refused(part, tmp_path):
    with pytest.raises(ValueError, match="sticks out"):
        open_pair(replace(part, window_xywh_px=(50, 5, 30, 20)), tmp_path, vocabulary=PARTS)


def read_mask(path: Path, values: tuple[MaskValues, ...] = VALUES) -> np.ndarray:
    return open_mask(path, values, vocabulary=NAMES, size_px=(4, 6))


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "I;16"])
def test_mask_ids_are_exact_in_every_mode(mode: str, tmp_path: Path) -> None:
    image = {
        "L": lambda: Image.fromarray(IDS),
        "P": lambda: _with_palette(IDS),
        "RGB": lambda: Image.fromarray(np.repeat(IDS[:, :, None], 3, axis=2)),
        "I;16": lambda: Image.fromarray(IDS.astype(np.uint16)),
    }[mode]()
    assert (read_mask(saved(image, tmp_path / "m.png")) == IDS).all()


def _with_palette(ids: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids)
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    return image


def test_one_bit_mask_is_zero_and_255(tmp_path: Path) -> None:
    mask = Image.fromarray(RAMP > 100)
    ids = read_mask(saved(mask, tmp_path / "m.png"), (MaskValues(255, 255, "stain"),))
    assert (ids == (RAMP > 100) * 2).all()


def test_soft_mask_is_cut_by_its_ranges(tmp_path: Path) -> None:
    soft = (MaskValues(0, 127, "good"), MaskValues(128, 255, "crack"))
    ids = read_mask(saved(Image.fromarray(RAMP), tmp_path / "m.png"), soft)
    assert (ids == (RAMP > 127)).all()


def test_many_classes_need_sixteen_bits(tmp_path: Path) -> None:
    names = Vocabulary.from_names([f"type {number}" for number in range(300)])
    path = saved(Image.fromarray(np.full((4, 6), 7, np.uint16)), tmp_path / "m.png")
    ids = open_mask(path, [MaskValues(7, 7, "type 299")], vocabulary=names, size_px=(4, 6))
    assert ids.dtype == np.uint16
    assert ids.max() == 300


def test_mask_of_another_size_says_both_sizes(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.zeros((4, 7), np.uint8)), tmp_path / "m.png")
    with pytest.raises(ValueError, match="is 7x4 px, expected its image's 6x4 px"):
        read_mask(path)


@pytest.mark.parametrize("value", [3, 255, 70_000, -5])
def test_unknown_id_is_named(value: int, tmp_path: Path) -> None:
    mask = np.zeros((4, 6), np.int32)
    mask[2, 2] = value
    image = Image.fromarray(mask) if not 0 <= value < 256 else Image.fromarray(mask.astype("u1"))
    with pytest.raises(ValueError, match=rf"unknown id {value} .*expected 1-1=crack, 2-2=stain"):
        read_mask(saved(image, tmp_path / "m.tif"))


def test_wide_grey_mask_keeps_its_ids(tmp_path: Path) -> None:
    ids = np.zeros((4, 6), np.uint16)
    ids[1, 1] = 4000
    path = saved(Image.fromarray(ids), tmp_path / "m.png")
    assert (read_mask(path, (MaskValues(4000, 4000, "stain"),)) == (ids > 0) * 2).all()


def test_turned_tiff_mask_is_read_as_stored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(IDS).save(tmp_path / "m.tif", exif=exif)
    assert (read_mask(tmp_path / "m.tif") == IDS).all()


def test_coloured_mask_is_refused(tmp_path: Path) -> None:
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[0, 0] = (255, 0, 0)
    with pytest.raises(ValueError, match="is coloured"):
        read_mask(saved(Image.fromarray(colours), tmp_path / "m.png"))


def test_box_covers_its_pixels_and_no_other() -> None:
    inside = draw_region(Region("crack", "box", (2, 1, 3, 2)), size_px=SIZE_PX)
    expected = np.zeros(SIZE_PX, bool)
    expected[1:3, 2:5] = True
    assert np.array_equal(inside, expected)


def test_polygon_of_a_box_covers_the_same_pixels() -> None:
    corners = (2.0, 1.0, 5.0, 1.0, 5.0, 3.0, 2.0, 3.0)
    inside = draw_region(Region("crack", "polygon", corners), size_px=SIZE_PX)
    assert np.array_equal(inside, draw_region(Region("c", "box", (2, 1, 3, 2)), size_px=SIZE_PX))


def test_runs_go_down_the_columns() -> None:
    inside = draw_region(Region("crack", "runs", (1, 2, 6, 1)), size_px=SIZE_PX)
    assert [tuple(place) for place in np.argwhere(inside)] == [(0, 1), (1, 0), (2, 0)]


@pytest.mark.parametrize("seed", range(5))
def test_runs_of_a_mask_draw_the_mask(seed: int) -> None:
    mask = np.random.default_rng(seed).random(SIZE_PX) < 0.4
    region = Region("crack", "runs", runs_of(mask))
    assert np.array_equal(draw_region(region, size_px=SIZE_PX), mask)


def test_small_region_stays_visible_on_a_large_one_in_either_order() -> None:
    regions = [Region("stain", "box", (0, 0, 8, 6)), Region("crack", "box", (3, 3, 2, 1))]
    for order in (regions, regions[::-1]):
        ids = draw_regions(order, vocabulary=NAMES, size_px=SIZE_PX)
        assert (ids == 1).sum() == 2
        assert (ids == 2).sum() == 46


def test_box_thinner_than_a_pixel_still_marks_one() -> None:
    assert draw_region(Region("crack", "box", (3.1, 2.2, 0.2, 0.2)), size_px=SIZE_PX).sum() == 1


def test_overhang_of_rounding_is_cut() -> None:
    assert draw_region(Region("crack", "box", (6, 4, 3.5, 3.5)), size_px=SIZE_PX).sum() == 4


@pytest.mark.parametrize(
    ("kind", "numbers", "reason"),
    [
        ("box", (1, 1, -2, 2), "positive size"),
        ("box", (1, 1, 0, 2), "positive size"),
        ("box", (math.nan, 1, 2, 2), "not finite"),
        ("box", (1, 1, math.inf, 2), "not finite"),
        ("box", (20, 1, 2, 2), "outside"),
        ("box", (-5, 1, 2, 2), "outside"),
        ("box", (1, 1, 2), "3 numbers"),
        ("polygon", (1, 1, 2, 2), "three or more"),
        ("polygon", (1, 1, 2, 2, 3), "three or more"),
        ("polygon", (1, 1, 2, 2, 30, 3), "outside"),
        ("runs", (), "pairs"),
        ("runs", (1, 2, 3), "pairs"),
        ("runs", (1, 2, 2, 2), "ascending"),
        ("runs", (1, -2), "ascending"),
        ("runs", (1.5, 2), "ascending"),
        ("runs", (40, 9), "48 pixels"),
        ("circle", (1, 1, 2), "unknown"),
    ],
)
def test_region_that_fits_no_image_is_refused(kind, numbers, reason) -> None:
    region = Region("crack", kind, numbers)
    assert reason in check_region(region, size_px=SIZE_PX)
    with pytest.raises(ValueError, match="correct or remove"):
        draw_region(region, size_px=SIZE_PX)


def test_region_without_a_name_is_refused() -> None:
    assert "no name" in check_region(Region("", "box", (1, 1, 2, 2)), size_px=SIZE_PX)
