"""What is drawn of an evaluation beside its figures: confusion, precision, reliability."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_modules.metrics.anomaly import AnomalyMetrics
from lightning_modules.metrics.calibration_counts import CalibrationCounts
from lightning_modules.metrics.score_histogram import sum_from_top
from lightning_modules.metrics.segmentation import SegmentationMetrics, from_units


@dataclass(frozen=True, slots=True)
class Curves:
    """names: K+1 class names, good first; confusion: (K+1, K+1) images, truth by answer.

    precision_recall: by what is found (`pixels`, `images`), (N, 2) recall and precision, from the
    highest score down; reliability: by score (`image`, `types`), (N, 3) mean score, share of true
    ones and number of those bins that have some. On the CPU; empty where nothing was counted.
    """

    names: tuple[str, ...]
    confusion: Tensor
    precision_recall: dict[str, Tensor]
    reliability: dict[str, Tensor]


def read_curves(
    segmentation: SegmentationMetrics, anomaly: AnomalyMetrics, calibration: CalibrationCounts
) -> Curves:
    """The curves of what the metrics have counted on all processes; each must call it."""
    with segmentation.sync_context(), anomaly.sync_context(), calibration.sync_context():
        confusion = segmentation.type_confusion.cpu().clone()
        counts = {"pixels": anomaly.pixel_counts.cpu(), "images": anomaly.image_counts.cpu()}
        reliability = calibration.reliability.cpu().clone()
        return Curves(
            segmentation.class_names,
            confusion,
            {name: precision_recall(found) for name, found in counts.items()},
            {
                "image": reliability_of(reliability[0]),
                "types": reliability_of(reliability[1:].sum(0)),
            },
        )


def precision_recall(histograms: Tensor) -> Tensor:
    """(N, 2) recall and precision at each score that occurs, recall rising; empty without defects.

    histograms: (2, bins) of good and defect.
    """
    good, defect = histograms.double()
    if defect.sum() == 0:
        return torch.empty(0, 2, dtype=torch.float64)
    hits, alarms = sum_from_top(defect), sum_from_top(good + defect)
    occurs = torch.nonzero(good + defect).flatten().flip(0)
    return torch.stack([hits[occurs] / defect.sum(), hits[occurs] / alarms[occurs]], dim=1)


def reliability_of(counted: Tensor) -> Tensor:
    """(N, 3) mean score, share of true ones and number of each bin that has some.

    counted: (bins, 3) int64 number, number of true ones, and sum of scores in units.
    """
    some = counted[counted[:, 0] > 0]
    number = some[:, 0].double()
    return torch.stack([from_units(some[:, 2]) / number, some[:, 1] / number, number], dim=1)
