"""What annotation a record opens to: a mask file, boxes, polygons, runs, all good, or none."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.annotation import (
    draw_region,
    draw_regions,
    open_annotation,
    open_mask,
    open_pair,
    runs_of,
)
from datamodules.sample import UNLABELLED, MaskValues, Record, Region
from datamodules.vocabulary import Vocabulary
from tests.datamodules.conftest import TYPES, VALUES, write_part

NAMES = Vocabulary.from_names(TYPES)
SIZE_PX = (6, 8)
IDS = (np.arange(24) % 3).astype(np.uint8).reshape(4, 6)


@pytest.fixture
def part(tmp_path: Path) -> Record:
    return write_part(tmp_path, 1)


BOX = Region("stain", "box", (4, 15, 10, 10))
BARE = {"mask": "", "mask_values": ()}


@pytest.mark.parametrize(
    ("changes", "types"),
    [
        ({}, {0, 1}),
        ({**BARE, "regions": (BOX,)}, {0, 2}),
        ({**BARE, "defects": ()}, {0}),
        ({**BARE, "defects": (), "split": UNLABELLED}, None),
        (BARE, None),
    ],
    ids=["mask", "regions", "good without a mask", "unlabelled", "never drawn"],
)
def test_annotation_is_class_ids_or_none(part, tmp_path, changes, types) -> None:
    record = replace(part, **changes)
    ids = open_annotation(record, tmp_path, vocabulary=NAMES, image_size_px=(40, 60))
    assert (None if ids is None else set(np.unique(ids).tolist())) == types
    if ids is not None and types != {0}:
        assert (ids[15:25, 4:14] > 0).all()
        assert (ids > 0).sum() == 100


def test_window_cuts_image_and_mask_alike(part, tmp_path) -> None:
    tile = replace(part, window_xywh_px=(10, 5, 30, 20))
    whole, cut = (open_pair(record, tmp_path, vocabulary=NAMES) for record in (part, tile))
    for pixels, pixels_of_tile in zip(whole, cut, strict=True):
        assert np.array_equal(pixels_of_tile, pixels[5:25, 10:40])
    with pytest.raises(ValueError, match="sticks out"):
        open_pair(replace(part, window_xywh_px=(50, 5, 30, 20)), tmp_path, vocabulary=NAMES)


def read_mask(
    image: Image.Image, path: Path, values: tuple[MaskValues, ...] = VALUES
) -> np.ndarray:
    image.save(path)
    return open_mask(path, values, vocabulary=NAMES, size_px=(4, 6))


def with_palette(ids: np.ndarray) -> Image.Image:
    image = Image.fromarray(ids)
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    return image


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(
    "image",
    [
        Image.fromarray(IDS),
        with_palette(IDS),
        Image.fromarray(np.repeat(IDS[:, :, None], 3, axis=2)),
        Image.fromarray(IDS.astype(np.uint16)),
    ],
    ids=["L", "P", "RGB", "I;16"],
)
def test_mask_ids_are_exact_in_every_mode(image, suffix: str, tmp_path: Path) -> None:
    assert (read_mask(image, tmp_path / f"m.{suffix}") == IDS).all()


@pytest.mark.parametrize(
    ("image", "values"),
    [
        (Image.fromarray(IDS == 2), [(255, 255, "stain")]),
        (Image.fromarray((IDS == 2) * np.uint16(4000)), [(4000, 4000, "stain")]),
        (Image.fromarray(IDS * np.uint8(100)), [(0, 150, "good"), (151, 255, "stain")]),
    ],
    ids=["one bit", "wide", "soft"],
)
def test_grey_ranges_become_classes(image, values, tmp_path: Path) -> None:
    ids = read_mask(image, tmp_path / "m.png", tuple(MaskValues(*value) for value in values))
    assert (ids == (IDS == 2) * 2).all()


def test_many_classes_need_sixteen_bits(tmp_path: Path) -> None:
    names = Vocabulary.from_names([f"type {number}" for number in range(300)])
    Image.fromarray(np.full((4, 6), 7, np.uint16)).save(tmp_path / "m.png")
    values = [MaskValues(7, 7, "type 299")]
    ids = open_mask(tmp_path / "m.png", values, vocabulary=names, size_px=(4, 6))
    assert (ids.dtype, ids.max()) == (np.uint16, 300)


def spotted(value: int) -> Image.Image:
    mask = np.zeros((4, 6), np.int32)
    mask[2, 2] = value
    return Image.fromarray(mask)


@pytest.mark.parametrize(
    ("image", "why"),
    [
        (spotted(3), "unknown id 3 .*expected 1-1=crack, 2-2=stain"),
        (spotted(70_000), "unknown id 70000 "),
        (spotted(-5), "unknown id -5 "),
    ],
)
def test_mask_that_does_not_fit_is_one_line(image, why: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        read_mask(image, tmp_path / "m.tif")
    assert "\n" not in str(caught.value)


def square(left: int, top: int, width: int, height: int) -> np.ndarray:
    inside = np.zeros(SIZE_PX, bool)
    inside[top : top + height, left : left + width] = True
    return inside


@pytest.mark.parametrize(
    ("kind", "numbers", "inside"),
    [
        ("box", (2, 1, 3, 2), square(2, 1, 3, 2)),
        ("box", (3.1, 2.2, 0.2, 0.2), square(3, 2, 1, 1)),
        ("box", (6, 4, 3.5, 3.5), square(6, 4, 2, 2)),
        ("polygon", (2, 1, 5, 1, 5, 3, 2, 3), square(2, 1, 3, 2)),
        ("runs", (13, 2, 19, 2, 25, 2), square(2, 1, 3, 2)),
    ],
    ids=["box", "thinner than a pixel", "rounded over the rim", "polygon", "runs"],
)
def test_region_covers_its_pixels_and_no_other(kind, numbers, inside) -> None:
    assert np.array_equal(draw_region(Region("crack", kind, numbers), size_px=SIZE_PX), inside)


@pytest.mark.parametrize("seed", range(5))
def test_runs_of_a_mask_draw_the_mask(seed: int) -> None:
    mask = np.random.default_rng(seed).random(SIZE_PX) < 0.4
    assert np.array_equal(
        draw_region(Region("crack", "runs", runs_of(mask)), size_px=SIZE_PX), mask
    )


def test_small_region_stays_visible_on_a_large_one_in_either_order() -> None:
    regions = [Region("stain", "box", (0, 0, 8, 6)), Region("crack", "box", (3, 3, 2, 1))]
    for order in (regions, regions[::-1]):
        ids = draw_regions(order, vocabulary=NAMES, size_px=SIZE_PX)
        assert [(ids == class_id).sum() for class_id in (1, 2)] == [2, 46]


@pytest.mark.parametrize(
    ("kind", "numbers", "reason"),
    [
        ("box", (1, 1, 0, 2), "positive size"),
        ("box", (1, 1, math.inf, 2), "not finite"),
        ("runs", (), "pairs"),
        ("runs", (1, 2, 3), "pairs"),
        ("runs", (1, -2), "ascending"),
        ("runs", (1.5, 2), "ascending"),
        ("circle", (1, 1, 2), "unknown"),
    ],
)
def test_region_that_fits_no_image_is_refused(kind, numbers, reason) -> None:
    with pytest.raises(ValueError, match=f"{reason}.*: correct or remove it"):
        draw_region(Region("crack", kind, numbers), size_px=SIZE_PX)
    with pytest.raises(ValueError, match="no name"):
        draw_region(Region("", "box", (1, 1, 2, 2)), size_px=SIZE_PX)
