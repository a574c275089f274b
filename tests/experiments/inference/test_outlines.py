"""Outlines draw the very mask that they were traced from, or one that is close to it."""

import numpy as np
import pytest
from scipy import ndimage

from datamodules.annotation import draw_region
from datamodules.sample import Region
from experiments.inference.outlines import LEAST_IOU, join_rings, trace_polygon, trace_rings
from tests.experiments.inference.small_results import blot_mask, ring_mask


def drawn(polygon: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask that COCO's rule makes of the polygon."""
    region = Region("pit", "polygon", tuple(polygon.ravel().astype(float).tolist()))
    return draw_region(region, size_px=(mask.shape[0], mask.shape[1]))


def ragged_mask(seed: int) -> np.ndarray:
    """One connected part of smoothed noise, with holes and single corners."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((30, 40)), 0.8)
    parts, _ = ndimage.label(noise > np.quantile(noise, 0.55), structure=np.ones((3, 3)))
    return parts == np.bincount(parts[parts > 0]).argmax()


def thin_crack() -> np.ndarray:
    """A crack of one pixel's width that winds across the image."""
    mask = np.zeros((60, 80), dtype=bool)
    x = np.arange(80)
    mask[(30 + 20 * np.sin(x / 12)).round().astype(int), x] = True
    return mask


MASKS = [ring_mask(), blot_mask(), thin_crack(), *map(ragged_mask, range(6)), np.ones((1, 7), bool)]


@pytest.mark.parametrize("mask", MASKS)
def test_polygon_is_exact_without_tolerance_and_close_for_a_person(mask: np.ndarray) -> None:
    assert np.array_equal(drawn(join_rings(trace_rings(mask)), mask), mask)
    found = drawn(trace_polygon(mask), mask)
    assert (found & mask).sum() / (found | mask).sum() >= LEAST_IOU


def test_holes_are_rings_and_corners_join() -> None:
    assert [len(trace_rings(mask)) for mask in (ring_mask(), blot_mask())] == [2, 1]


def test_polygon_for_a_person_has_few_corners() -> None:
    y, x = np.mgrid[:300, :400]
    mask = np.hypot((y - 150) * 1.3, x - 200) < 100
    assert len(trace_polygon(mask)) < len(join_rings(trace_rings(mask))) / 4
