"""Counts predictions into metrics and logs them under `mask/split/name`.

Stage 2 and all baselines hold one of these: judged by the same figures under the same names, they
stand side by side in the tracker.
"""

from typing import cast

from lightning import LightningModule
from torch import Tensor, nn
from torchmetrics import Metric

from datamodules.sample import Batch, Prediction
from lightning_modules.metrics.anomaly import AnomalyMetrics
from lightning_modules.metrics.calibration import Calibration, CalibrationRule, choose_thresholds
from lightning_modules.metrics.calibration_counts import CalibrationCounts
from lightning_modules.metrics.curves import Curves, read_curves
from lightning_modules.metrics.detection import DetectionMetrics
from lightning_modules.metrics.regions import RegionRecall
from lightning_modules.metrics.segmentation import SegmentationMetrics
from lightning_modules.nets.post_processing import OperatingPoints, PostProcessing, TypeThresholds

TASK = "mask"


class Evaluation(nn.Module):
    """Metrics of the validation and the test split for predictions over `class_names`."""

    def __init__(self, class_names: tuple[str, ...]) -> None:
        super().__init__()
        self.counters = nn.ModuleDict(
            {
                split: nn.ModuleList(
                    [
                        SegmentationMetrics(class_names),
                        AnomalyMetrics(),
                        DetectionMetrics(class_names),
                        RegionRecall(),
                        CalibrationCounts(class_names),
                    ]
                )
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

    def curves(self, split: str) -> Curves:
        """What can be drawn of a split so far, of all processes; each of them must ask."""
        segmentation, anomaly, *_, calibration = self._counters(split)
        assert isinstance(segmentation, SegmentationMetrics)
        assert isinstance(anomaly, AnomalyMetrics)
        assert isinstance(calibration, CalibrationCounts)
        return read_curves(segmentation, anomaly, calibration)

    def _counters(self, split: str) -> list[Metric]:
        return cast(list[Metric], list(cast(nn.ModuleList, self.counters[split])))

    def calibrate(self, post_processing: PostProcessing, rule: CalibrationRule) -> Calibration:
        """Sets the thresholds by what validation has counted; returns them with their figures."""
        counts = self._counters("val")[-1]
        assert isinstance(counts, CalibrationCounts)
        calibration = choose_thresholds(
            counts,
            rule,
            pixel=float(post_processing.pixel_threshold),
            image=float(post_processing.image_threshold),
        )
        post_processing.calibrate(operating_points(calibration))
        return calibration

    def finish_validation(self, module: LightningModule) -> None:
        """Logs the validation figures."""
        self._log(module, "val")

    def finish_test(self, module: LightningModule) -> None:
        """Logs the test figures."""
        self._log(module, "test")

    def _log(self, module: LightningModule, split: str) -> None:
        values = self.compute(split)
        named = {f"{TASK}/{split}/{name}": value for name, value in values.items()}
        module.log_dict({name: value.float() for name, value in named.items()})


def operating_points(calibration: Calibration) -> OperatingPoints:
    """The thresholds of a calibration, without their figures."""
    thresholds = {
        name: TypeThresholds(one.pixel_threshold, one.alarm_threshold)
        for name, one in calibration.types.items()
    }
    return OperatingPoints(
        TypeThresholds(calibration.default.pixel_threshold, calibration.default.alarm_threshold),
        calibration.image.threshold,
        *calibration.image.review_band,
        by_name=thresholds,
    )
