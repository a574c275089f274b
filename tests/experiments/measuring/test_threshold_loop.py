"""The slow AUPRO, on maps whose figure can be worked out by hand."""

import numpy as np
import pytest

from experiments.measuring.threshold_loop import region_overlap_by_loop


def two_regions() -> np.ndarray:
    """(1, 64, 64) bool: a region of 16 px and one of 64."""
    mask = np.zeros((1, 64, 64), dtype=bool)
    mask[0, 4:8, 4:8] = mask[0, 20:28, 20:28] = True
    return mask


def scores_of_good() -> np.ndarray:
    """(1, 64, 64), all different, in [0, 1)."""
    return np.random.default_rng(0).permutation(64 * 64).reshape(1, 64, 64) / 64**2


def test_map_that_is_the_truth_scores_one() -> None:
    mask = two_regions()
    scores = np.where(mask, 2.0, scores_of_good())
    assert region_overlap_by_loop(scores, mask) == pytest.approx(1.0)


def test_region_that_is_never_found_costs_its_share_whatever_its_area() -> None:
    mask = two_regions()
    scores = np.where(mask, 2.0, scores_of_good())
    scores[0, 20:28, 20:28] = -1.0
    assert region_overlap_by_loop(scores, mask) == pytest.approx(0.5)


def test_chance_scores_half_the_limit() -> None:
    mask = np.zeros((4, 128, 128), dtype=bool)
    mask[:, 10:110, 10:60] = True
    scores = np.random.default_rng(0).random(mask.shape)
    assert region_overlap_by_loop(scores, mask, limit=0.3) == pytest.approx(0.15, abs=0.005)
