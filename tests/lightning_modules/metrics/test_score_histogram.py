"""Holds the ranking figures from histograms against scikit-learn."""

import torch

from lightning_modules.metrics.score_histogram import (
    best_balanced_accuracy,
    bin_scores,
    count_scores,
    lower_edge,
)

BINS = 16384


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
