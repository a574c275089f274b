"""Our figures are those of the slow ways before they are timed, at a small size."""

import pytest

from experiments.benchmarks.metrics_speed import (
    all_figures,
    compare,
    measure_aupro,
    measure_auroc,
    pixel_auroc,
)
from experiments.measuring.scored_scenes import ScoredScenes, scored_scenes


@pytest.fixture
def scenes() -> ScoredScenes:
    """Four small images, one of them good."""
    return scored_scenes(4, side_px=64)


def test_rows_name_both_sides_and_how_far_their_figures_part(scenes: ScoredScenes) -> None:
    rows = [measure_aupro(scenes, repeats=3), *measure_auroc(scenes, repeats=3)]
    assert len({row.name for row in rows}) == 3
    assert all(row.ours and row.reference and row.unit == "images/s per core" for row in rows)
    assert all(float(row.settings["figures part by"]) < 1e-4 for row in rows)


def test_auroc_alone_is_that_of_the_whole_metric(scenes: ScoredScenes) -> None:
    assert pixel_auroc(scenes.scores, scenes.is_defect) == pytest.approx(
        all_figures(scenes), abs=1e-6
    )


def test_figures_that_differ_are_not_timed(scenes: ScoredScenes) -> None:
    with pytest.raises(RuntimeError, match=r"AUPRO: the figures are .* expected them within"):
        compare("AUPRO", lambda: 0.5, lambda: 0.5002, scenes, repeats=3)
