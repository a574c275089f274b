"""Boxes, polygons and runs as masks, and what is refused of them."""

import math

import numpy as np
import pytest

from datamodules.pictures.regions import check_region, draw_region, draw_regions, runs_of
from datamodules.sample import Region
from datamodules.vocabulary import Vocabulary

SIZE_PX = (6, 8)
NAMES = Vocabulary.from_names(["crack", "stain"])


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
def test_region_that_fits_no_picture_is_refused(kind, numbers, reason) -> None:
    region = Region("crack", kind, numbers)
    assert reason in check_region(region, size_px=SIZE_PX)
    with pytest.raises(ValueError, match="correct or remove"):
        draw_region(region, size_px=SIZE_PX)


def test_region_without_a_name_is_refused() -> None:
    assert "no name" in check_region(Region("", "box", (1, 1, 2, 2)), size_px=SIZE_PX)
