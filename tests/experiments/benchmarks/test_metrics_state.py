"""States are weighed whole, at a small size."""

from collections.abc import Callable

import pytest

from experiments.benchmarks.metrics_state import (
    anomaly_bytes,
    compare_states,
    evaluation_bytes,
    exact_bytes,
)
from experiments.measuring.scored_scenes import ScoredScenes, scored_scenes


@pytest.mark.parametrize("keep", [anomaly_bytes, evaluation_bytes])
def test_our_states_do_not_grow_with_images(keep: Callable[[ScoredScenes], int]) -> None:
    assert keep(scored_scenes(1, side_px=32)) == keep(scored_scenes(5, side_px=32)) > 0


def test_exact_curve_keeps_a_score_and_a_label_of_every_pixel() -> None:
    assert exact_bytes(scored_scenes(3, side_px=16)) == 3 * 16 * 16 * (4 + 8)


def test_row_says_how_either_side_grew() -> None:
    few, many = (scored_scenes(count, side_px=16) for count in (1, 3))
    row = compare_states("anomaly metrics", anomaly_bytes, few, many)
    assert (row.settings["ours grew"], row.settings["exact grew"]) == (1.0, 3.0)
    assert row.reference == 3 * 16 * 16 * 12 / 1e3
