"""Holds the ranking figures from histograms against scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from lightning_modules.metrics.score_histogram import (
    area_under_roc,
    average_precision,
    best_balanced_accuracy,
    best_f1,
    bin_scores,
    count_scores,
    lower_edge,
)

BINS = 16384


def draw(seed: int, *, scale: float = 1.0) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores and truth of 5,000 pixels, a tenth of them defect, with scores up to `scale`."""
    generator = np.random.default_rng(seed)
    truth = generator.random(5000) < 0.1
    scores = np.where(truth, generator.beta(4, 2, 5000), generator.beta(2, 4, 5000)) * scale
    return torch.from_numpy(scores).float(), torch.from_numpy(truth)


@pytest.mark.parametrize("scale", [1.0, 1e-3, 1e-5])
def test_roc_and_precision_equal_sklearn_even_where_all_scores_are_tiny(scale: float) -> None:
    scores, truth = draw(0, scale=scale)
    counts = count_scores(scores, truth, BINS)
    assert float(area_under_roc(counts)) == pytest.approx(roc_auc_score(truth, scores), abs=1e-4)
    expected = average_precision_score(truth, scores)
    assert float(average_precision(counts)) == pytest.approx(expected, abs=2e-3)


def test_best_f1_is_what_its_threshold_gives() -> None:
    scores, truth = draw(2)
    figure, threshold = best_f1(count_scores(scores, truth, BINS))
    assert float(figure) == pytest.approx(f1_score(truth, scores >= threshold), abs=1e-3)
    others = [f1_score(truth, scores >= other) for other in np.linspace(0, 1, 101)]
    assert float(figure) >= max(others) - 1e-3


def test_best_threshold_lies_in_the_gap_between_good_and_defect() -> None:
    scores, truth = torch.tensor([0.1, 0.2, 0.7, 0.9]), torch.tensor([False, False, True, True])
    figure, threshold = best_balanced_accuracy(count_scores(scores, truth, BINS))
    assert float(figure) == 1.0
    assert 0.35 < float(threshold) < 0.55


def test_lower_edge_falls_into_its_own_bin() -> None:
    place = BINS // 2
    assert lower_edge(place, BINS) == 0.5
    assert int(bin_scores(torch.tensor(lower_edge(place, BINS)), BINS)) == place
    assert lower_edge(0, BINS) == 0.0
