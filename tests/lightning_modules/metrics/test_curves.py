"""Holds the curves that are drawn: against scikit-learn's, and by hand."""

import torch
from sklearn.metrics import precision_recall_curve

from lightning_modules.metrics.curves import precision_recall, reliability_of
from lightning_modules.metrics.score_histogram import count_scores
from lightning_modules.metrics.segmentation import to_units


def test_precision_over_recall_is_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    scores = torch.rand(200, generator=generator)
    is_defect = torch.rand(200, generator=generator) < scores
    precision, recall, _ = precision_recall_curve(is_defect, scores)
    ours = precision_recall(count_scores(scores, is_defect, 1 << 20))
    expected = torch.from_numpy(recall[::-1].copy())[1:], torch.from_numpy(precision[::-1].copy())
    torch.testing.assert_close(ours[:, 0], expected[0])
    torch.testing.assert_close(ours[:, 1], expected[1][1:])


def test_without_defects_there_is_no_precision() -> None:
    assert not len(precision_recall(torch.tensor([[3, 1], [0, 0]])))


def test_reliability_leaves_empty_bins_out() -> None:
    units = to_units(torch.tensor([0.3, 0.0, 1.6], dtype=torch.float64))
    counted = torch.tensor([[3, 1, 0], [0, 0, 0], [2, 2, 0]])
    counted[:, 2] = units
    points = reliability_of(counted)
    expected = torch.tensor([[0.1, 1 / 3, 3.0], [0.8, 1.0, 2.0]], dtype=torch.float64)
    torch.testing.assert_close(points, expected)
