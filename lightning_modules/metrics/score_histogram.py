"""Ranking figures from two histograms of scores, so that no score need be kept.

Bins are even in the logit of the score: fine near 0 and 1, where trained nets put most scores.
Scores of one bin count as tied. Figures without an answer (no good or no defect) are NaN.
`histograms` are (2, bins) everywhere, of good and of defect.
"""

import torch
from torch import Tensor

LOGIT_LIMIT = 16.0


def bin_scores(scores: Tensor, bins: int) -> Tensor:
    """Bin of each score in [0, 1], as int64 in 0..bins-1, rising with the score."""
    logits = torch.logit(scores.detach().float()).clamp_(-LOGIT_LIMIT, LOGIT_LIMIT)
    return logits.add_(LOGIT_LIMIT).mul_(bins / (2 * LOGIT_LIMIT)).long().clamp_(0, bins - 1)


def count_scores(scores: Tensor, is_defect: Tensor, bins: int) -> Tensor:
    """(2, bins) int64 histograms of the scores of good and of defect.

    scores: any shape, in [0, 1]; is_defect: same shape, bool.
    """
    index = bin_scores(scores, bins).add_(is_defect, alpha=bins)
    return torch.bincount(index.flatten(), minlength=2 * bins).reshape(2, bins)


def lower_edge(bin_place: float, bins: int) -> float:
    """The score at `bin_place` (0..bins), the lowest one that falls into that bin."""
    if bin_place <= 0:
        return 0.0
    logit = torch.tensor(bin_place / bins * 2 * LOGIT_LIMIT - LOGIT_LIMIT, dtype=torch.float64)
    return float(torch.sigmoid(logit))


def sum_from_top(histogram: Tensor) -> Tensor:
    """(..., bins) how much lies in each bin or above it."""
    return histogram.flip(-1).cumsum(-1).flip(-1)


def area_under_roc(histograms: Tensor) -> Tensor:
    """The chance that a defect scores above a good one, ties counted half."""
    good, defect = histograms.double()
    good_below = good.cumsum(0) - good
    return (defect * (good_below + good / 2)).sum() / (good.sum() * defect.sum())


def average_precision(histograms: Tensor) -> Tensor:
    """Precision averaged over the steps of recall, without interpolation."""
    good, defect = histograms.double()
    if good.sum() == 0 or defect.sum() == 0:
        return torch.tensor(torch.nan, dtype=torch.float64)
    hits = sum_from_top(defect)
    precision = hits / (hits + sum_from_top(good)).clamp(min=1)
    return (precision * defect).sum() / defect.sum()


def best_f1(histograms: Tensor) -> tuple[Tensor, Tensor]:
    """The highest F1 of any threshold, and that threshold."""
    good, defect = histograms.double()
    hits = sum_from_top(defect)
    f1 = 2 * hits / (hits + sum_from_top(good) + defect.sum())
    return best_with_threshold(f1, histograms)


def best_balanced_accuracy(histograms: Tensor) -> tuple[Tensor, Tensor]:
    """The highest mean of both classes' accuracies of any threshold, and that threshold."""
    good, defect = histograms.double()
    true_rate = sum_from_top(defect) / defect.sum()
    false_rate = sum_from_top(good) / good.sum()
    return best_with_threshold((true_rate + 1 - false_rate) / 2, histograms)


def overlap_at_thresholds(histograms: Tensor) -> Tensor:
    """Intersection over union of one image's defect at each threshold, (bins,)."""
    good, defect = histograms.double()
    return sum_from_top(defect) / (sum_from_top(good) + defect.sum())


def best_with_threshold(figure: Tensor, histograms: Tensor) -> tuple[Tensor, Tensor]:
    """The best figure (bins,), and the threshold midway to the next lower score that occurs."""
    good, defect = histograms
    if good.sum() == 0 or defect.sum() == 0:
        return figure.new_tensor(torch.nan), figure.new_tensor(torch.nan)
    bins = len(figure)
    occupied = torch.nonzero(good + defect).flatten()
    best = int(figure[occupied].argmax())
    place = float(occupied[best])
    if best > 0:
        place = (place + float(occupied[best - 1]) + 1) / 2
    return figure[occupied[best]], figure.new_tensor(lower_edge(place, bins))
