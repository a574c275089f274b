"""Outlines draw the very mask that they were traced from, or one that is close to it."""

import numpy as np
import pytest
from scipy import ndimage

from datamodules.annotation import draw_region
from datamodules.sample import Region
from experiments.inference.outlines import LEAST_IOU, join_rings, trace_polygon, trace_rings
from tests.experiments.inference.small_results import blot_mask, ring_mask

EIGHT_NEIGHBOURS = np.ones((3, 3), dtype=bool)


def drawn(polygon: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask that COCO's rule makes of the polygon."""
    region = Region("pit", "polygon", tuple(polygon.ravel().astype(float).tolist()))
    return draw_region(region, size_px=(mask.shape[0], mask.shape[1]))


def ragged_mask(seed: int) -> np.ndarray:
    """One connected part of smoothed noise, with holes and single corners."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((30, 40)), 0.8)
    parts, _ = ndimage.label(noise > np.quantile(noise, 0.55), structure=EIGHT_NEIGHBOURS)
    return parts == np.bincount(parts[parts > 0]).argmax()


@pytest.mark.parametrize("seed", range(8))
def test_polygon_without_tolerance_is_exact_with_holes_and_single_corners(seed: int) -> None:
    mask = ragged_mask(seed)
    assert np.array_equal(drawn(join_rings(trace_rings(mask)), mask), mask)


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (5, 1), (4, 6)])
def test_mask_that_fills_its_image_is_one_rectangle(shape: tuple[int, int]) -> None:
    (ring,) = trace_rings(np.ones(shape, dtype=bool))
    assert sorted(map(tuple, ring.tolist())) == sorted(
        [(0, 0), (shape[1], 0), (0, shape[0]), (shape[1], shape[0])]
    )


def test_pixels_that_meet_at_a_corner_stay_one_outline() -> None:
    assert len(trace_rings(blot_mask())) == 1


def test_hole_is_a_ring_of_its_own() -> None:
    assert len(trace_rings(ring_mask())) == 2


def thin_crack() -> np.ndarray:
    """A crack of one pixel's width that winds across the image."""
    mask = np.zeros((60, 80), dtype=bool)
    x = np.arange(80)
    mask[(30 + 20 * np.sin(x / 12)).round().astype(int), x] = True
    return mask


@pytest.mark.parametrize("mask", [ring_mask(), blot_mask(), thin_crack(), ragged_mask(0)])
def test_polygon_for_a_person_keeps_nearly_all_of_the_mask(mask: np.ndarray) -> None:
    found = drawn(trace_polygon(mask), mask)
    assert (found & mask).sum() / (found | mask).sum() >= LEAST_IOU


def test_polygon_for_a_person_has_few_corners() -> None:
    y, x = np.mgrid[:300, :400]
    mask = np.hypot((y - 150) * 1.3, x - 200) < 100
    assert len(trace_polygon(mask)) < len(join_rings(trace_rings(mask))) / 4


def test_outline_far_from_the_origin_stays_in_its_place() -> None:
    (ring,) = trace_rings(blot_mask())
    assert ring.min(axis=0).tolist() == [69, 49]
    assert ring.max(axis=0).tolist() == [80, 60]


def test_empty_mask_has_no_polygon() -> None:
    with pytest.raises(ValueError, match="without any pixel"):
        trace_polygon(np.zeros((3, 3), dtype=bool))
