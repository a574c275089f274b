"""Counts predictions into metrics and logs them under `mask/split/name`.

Stage 2 and all baselines hold one of these: measured by the same figures under the same names, they
stand side by side in the tracker.
"""

from dataclasses import dataclass
from typing import cast

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric

from datamodules.sample import Batch, Prediction
from lightning_modules.metrics.anomaly import AnomalyMetrics
from lightning_modules.metrics.calibration import Calibration, CalibrationRule, choose_thresholds
from lightning_modules.metrics.calibration_counts import CalibrationCounts
from lightning_modules.metrics.detection import DetectionMetrics
from lightning_modules.metrics.score_histogram import sum_from_top
from lightning_modules.metrics.segmentation import SegmentationMetrics, from_units
from lightning_modules.nets.post_processing import OperatingPoints

TASK = "mask"


@dataclass(frozen=True, slots=True)
class Curves:
    """What is drawn of a split. names: K+1 class names, good first; confusion: (K+1, K+1) images,
    truth by answer.

    precision_recall: by what is found (`pixels`, `images`), (N, 2) recall and precision, from the
    highest score down; reliability: by score (`image`, `types`), (N, 3) mean score, share of true
    ones and number of those bins that have some. On the CPU; empty where nothing was counted.
    """

    names: tuple[str, ...]
    confusion: Tensor
    precision_recall: dict[str, Tensor]
    reliability: dict[str, Tensor]


class Evaluation(nn.Module):
    """Metrics of the validation and the test split for predictions over `class_names`."""

    def __init__(self, class_names: tuple[str, ...]) -> None:
        super().__init__()
        self.counters = nn.ModuleDict()
        for split in ("val", "test"):
            self.counters[split] = nn.ModuleDict(
                {
                    "segmentation": SegmentationMetrics(class_names),
                    "anomaly": AnomalyMetrics(),
                    "detection": DetectionMetrics(class_names),
                    "calibration": CalibrationCounts(class_names),
                }
            )

    def count(self, split: str, predictions: list[Prediction], batch: Batch) -> list[Prediction]:
        """The same predictions, after they were counted."""
        for counter in self._counters(split).values():
            counter.update(predictions, batch)
        return predictions

    def compute(self, split: str) -> dict[str, Tensor]:
        """All figures of a split by name; the counters start again."""
        values: dict[str, Tensor] = {}
        for counter in self._counters(split).values():
            values |= counter.compute()
            counter.reset()
        return values

    def curves(self, split: str) -> Curves:
        """What can be drawn of a split so far, of all processes; each of them must ask."""
        counters = self._counters(split)
        segmentation = cast(SegmentationMetrics, counters["segmentation"])
        anomaly = cast(AnomalyMetrics, counters["anomaly"])
        calibration = cast(CalibrationCounts, counters["calibration"])
        with segmentation.sync_context(), anomaly.sync_context(), calibration.sync_context():
            reliability = calibration.reliability.cpu()
            return Curves(
                segmentation.class_names,
                segmentation.type_confusion.cpu().clone(),
                {
                    "pixels": precision_recall(anomaly.pixel_counts.cpu()),
                    "images": precision_recall(anomaly.image_counts.cpu()),
                },
                {
                    "image": reliability_of(reliability[0]),
                    "types": reliability_of(reliability[1:].sum(0)),
                },
            )

    def has_defects(self, split: str) -> bool:
        """Whether an image of the split showed one so far; each process must ask."""
        counts = cast(CalibrationCounts, self._counters(split)["calibration"])
        with counts.sync_context():
            return bool(counts.image_counts[1].any())

    def calibrate(self, rule: CalibrationRule, points: OperatingPoints) -> Calibration:
        """Thresholds from the counts of validation; those of `points` where they say nothing."""
        counts = cast(CalibrationCounts, self._counters("val")["calibration"])
        pixel, alarm = points.default.pixel, points.default.alarm
        return choose_thresholds(counts, rule, pixel=pixel, image=points.image, alarm=alarm)

    def log(self, module: LightningModule, split: str) -> None:
        """Logs the figures of a split; the counters start again."""
        values = self.compute(split)
        module.log_dict({f"{TASK}/{split}/{name}": one.float() for name, one in values.items()})

    def _counters(self, split: str) -> dict[str, Metric]:
        return dict(cast(nn.ModuleDict, self.counters[split]).items())  # type: ignore[arg-type]


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
