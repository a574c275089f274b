"""The thresholds that a calibration split gives, and the figures they have there.

How they are chosen is in `threshold_choice.py`, what they do in `nets/post_processing.py`.
"""

from dataclasses import dataclass

from torch import Tensor

from lightning_modules.metrics.fixed_point import from_units
from lightning_modules.metrics.objectives import BALANCED, Objective
from lightning_modules.metrics.proportion import Proportion, plain


@dataclass(frozen=True, slots=True)
class CalibrationRule:
    """objective: of alarms and of the image's answer; min_images: a type shown by fewer keeps the
    thresholds of all types; review_error_rate: at most this share of the defective images scores
    under the review band, and at most this share of the good ones above it.
    """

    objective: Objective = BALANCED
    min_images: int = 10
    review_error_rate: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 <= self.review_error_rate <= 1.0:
            raise ValueError(
                f"review error rate is {self.review_error_rate}: expected a share in [0, 1]"
            )


@dataclass(frozen=True, slots=True)
class AlarmFigures:
    """What happens on the split at a threshold."""

    recall: Proportion
    false_alarm_rate: Proportion
    precision: Proportion

    def content(self) -> dict[str, object]:
        """Plain values for a file."""
        return {
            "recall": self.recall.content(),
            "false_alarm_rate": self.false_alarm_rate.content(),
            "precision": self.precision.content(),
        }


@dataclass(frozen=True, slots=True)
class TypeChoice:
    """The thresholds of one type, or of any; `reason` says why they are not its own."""

    pixel_threshold: float
    alarm_threshold: float
    figures: AlarmFigures
    calibration_error: float
    reason: str

    def content(self) -> dict[str, object]:
        """Plain values for a file."""
        return {
            "pixel_threshold": self.pixel_threshold,
            "alarm_threshold": self.alarm_threshold,
            **self.figures.content(),
            "ece": plain(self.calibration_error),
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """The threshold of the image score and the band around it in which a person judges."""

    threshold: float
    review_band: tuple[float, float]
    figures: AlarmFigures
    review_share: Proportion
    calibration_error: float
    reliability: Tensor
    reason: str

    def content(self) -> dict[str, object]:
        """Plain values for a file."""
        scores = from_units(self.reliability[:, 2]) / self.reliability[:, 0].clamp(min=1)
        return {
            "threshold": self.threshold,
            "review_low": self.review_band[0],
            "review_high": self.review_band[1],
            **self.figures.content(),
            "review_share": self.review_share.content(),
            "ece": plain(self.calibration_error),
            "reliability": {
                "images": self.reliability[:, 0].tolist(),
                "defective": self.reliability[:, 1].tolist(),
                "mean_score": [round(score, 4) for score in scores.tolist()],
            },
            "reason": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Calibration:
    """All that was chosen on a split; default: for types without thresholds of their own."""

    rule: CalibrationRule
    image: ImageChoice
    default: TypeChoice
    types: dict[str, TypeChoice]

    def content(self) -> dict[str, object]:
        """Plain values for a file."""
        return {
            "objective": str(self.rule.objective),
            "min_images": self.rule.min_images,
            "review_error_rate": self.rule.review_error_rate,
            "image": self.image.content(),
            "default": self.default.content(),
            "types": {name: one.content() for name, one in self.types.items()},
        }
