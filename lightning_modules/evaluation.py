"""Counts predictions into metrics and logs them under `mask/split/name`.

Stage 2 and all baselines hold one of these: judged by the same figures under the same names, they
stand side by side in the tracker.
"""

import math
from typing import Protocol, cast

from lightning import LightningModule
from torch import Tensor, nn

from datamodules.sample import Batch, Prediction
from lightning_modules.metrics.anomaly import AnomalyMetrics
from lightning_modules.metrics.segmentation import SegmentationMetrics

TASK = "mask"


class Calibrated(Protocol):
    """A post-processing whose thresholds can be moved."""

    def calibrate(self, pixel_threshold: float, image_threshold: float) -> None:
        """Sets both thresholds."""


class Evaluation(nn.Module):
    """Metrics of the validation and the test split for predictions over `class_names`."""

    def __init__(self, class_names: tuple[str, ...]) -> None:
        super().__init__()
        self.counters = nn.ModuleDict(
            {
                split: nn.ModuleList([SegmentationMetrics(class_names), AnomalyMetrics()])
                for split in ("val", "test")
            }
        )

    def count(self, split: str, predictions: list[Prediction], batch: Batch) -> list[Prediction]:
        """The same predictions, after they were counted."""
        for counter in self._counters(split):
            counter.update(predictions, batch)
        return predictions

    def compute(self, split: str) -> dict[str, Tensor]:
        """All figures of a split by name; the counters start again."""
        values: dict[str, Tensor] = {}
        for counter in self._counters(split):
            values |= counter.compute()
            counter.reset()
        return values

    def _counters(self, split: str) -> list[SegmentationMetrics | AnomalyMetrics]:
        return list(cast(nn.ModuleList, self.counters[split]))  # type: ignore[arg-type]

    def finish_validation(self, module: LightningModule, post_processing: Calibrated) -> None:
        """Logs the validation figures; a validation after the fit also sets the thresholds.

        Not within the fit: there the weights that validate are swapped in for the moment.
        """
        values = self._log(module, "val")
        # The best F1 of pooled pixels would be set by the few largest defects alone.
        names = ("iou_image_threshold_best", "image_threshold_best")
        thresholds = [float(values[name]) for name in names]
        # A split without a defect, or without a good image, has no best threshold.
        if module.trainer.state.fn == "validate" and all(map(math.isfinite, thresholds)):
            post_processing.calibrate(*thresholds)

    def finish_test(self, module: LightningModule) -> None:
        """Logs the test figures."""
        self._log(module, "test")

    def _log(self, module: LightningModule, split: str) -> dict[str, Tensor]:
        values = self.compute(split)
        named = {f"{TASK}/{split}/{name}": value for name, value in values.items()}
        module.log_dict({name: value.float() for name, value in named.items()})
        return values
