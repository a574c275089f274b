"""The thresholds that a calibration split gives, and the figures they have there.

What is counted for them is in `calibration_counts.py`, what they do in `nets/post_processing.py`.
"""

import math
from dataclasses import dataclass

import torch
from scipy.stats import binomtest
from torch import Tensor

from datamodules.sample import GOOD_ID
from lightning_modules.metrics.calibration_counts import (
    SCORE_BINS,
    CalibrationCounts,
    expected_calibration_error,
)
from lightning_modules.metrics.score_histogram import LOGIT_LIMIT, lower_edge, sum_from_top
from lightning_modules.metrics.segmentation import from_units

PLAIN, TARGETED = ("balanced", "best_f1"), ("recall", "false_alarm_rate")


@dataclass(frozen=True, slots=True)
class Proportion:
    """`hits` out of `of`; its figures are NaN where there was nothing to count."""

    hits: int
    of: int

    @property
    def value(self) -> float:
        """The share itself."""
        return self.hits / self.of if self.of else math.nan

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval, which stays in [0, 1] and is not empty at 0 of n or n of n."""
        if not self.of:
            return math.nan, math.nan
        found = binomtest(self.hits, self.of).proportion_ci(0.95, method="wilson")
        return float(found.low), float(found.high)

    def content(self) -> dict[str, float | int | None]:
        """Plain values for a file."""
        low, high = (plain(one) for one in self.interval)
        return {
            "value": plain(self.value),
            "low": low,
            "high": high,
            "hits": self.hits,
            "of": self.of,
        }


def plain(figure: float) -> float | None:
    """The figure for a file, null for NaN."""
    return None if math.isnan(figure) else round(figure, 6)


@dataclass(frozen=True, slots=True)
class Objective:
    """`balanced`, `best_f1`, `recall` or `false_alarm_rate`; the last two with a target.

    `balanced` is the highest mean accuracy on good and on defect for the image's answer, and
    leaves alarms where masks begin.
    """

    name: str
    target: float = math.nan

    def __str__(self) -> str:
        return self.name if math.isnan(self.target) else f"{self.name}={self.target:g}"

    def choose(self, histograms: Tensor) -> int | None:
        """The lowest bin that speaks up; None where no threshold serves.

        histograms: (2, bins) of good and defect, both with entries.
        """
        good, defect = histograms.double()
        false_rate, recall = sum_from_top(good) / good.sum(), sum_from_top(defect) / defect.sum()
        match self.name:
            case "balanced":
                return int((recall - false_rate).argmax())
            case "best_f1":  # from rates, and the defects per good one
                odds = float(defect.sum() / good.sum())
                return int((2 * recall / (recall + false_rate / odds + 1)).argmax())
            case "recall":  # the highest bin that still finds so many
                return int(torch.nonzero(recall >= self.target).max())
        # The lowest bin that raises no more.
        return next(iter(torch.nonzero(false_rate <= self.target).flatten().tolist()), None)


BALANCED = Objective("balanced")


def parse_objective(text: str) -> Objective:
    """The objective that a user typed, such as `recall=0.95`; ValueError for none."""
    name, equals, number = text.replace(" ", "").partition("=")
    try:
        target = float(number) if equals else math.nan
    except ValueError:
        target = math.inf
    has_target = 0.0 <= target <= 1.0
    if name not in (TARGETED if has_target else PLAIN) or has_target != bool(equals):
        raise ValueError(
            f"got the objective {text!r}: expected balanced, best_f1, recall=0.95 or "
            "false_alarm_rate=0.01, with a target in [0, 1]"
        )
    return Objective(name, target)


def middle_of_run(levels: Tensor, place: int) -> int:
    """The bin in the middle of the run of equal levels around `place`.

    levels: (bins,). No score lies between the bins of a run: its thresholds part the same images,
    and the middle one keeps the distance from both.
    """
    values = levels.tolist()
    first = last = place
    while first > 0 and values[first - 1] == values[place]:
        first -= 1
    while last + 1 < len(values) and values[last + 1] == values[place]:
        last += 1
    return (first + last + 1) // 2


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


def choose_thresholds(
    counts: CalibrationCounts, rule: CalibrationRule, *, pixel: float, image: float
) -> Calibration:
    """The thresholds that the rule asks for, from what all processes have counted.

    pixel, image: the ones that stay where the split cannot tell.
    """
    with counts.sync_context():
        states = {name: getattr(counts, name).cpu() for name in counts.metric_state}
    choice = ThresholdChoice(states, rule)
    default = choice.for_any(pixel)
    names = counts.class_names[GOOD_ID + 1 :]
    types = {name: choice.for_type(row, default) for row, name in enumerate(names, start=1)}
    return Calibration(rule, choice.for_image(image), default, types)


class ThresholdChoice:
    """Chooses by one rule from the states of CalibrationCounts, by name, on the CPU."""

    def __init__(self, states: dict[str, Tensor], rule: CalibrationRule) -> None:
        self.states, self.rule = states, rule

    def for_image(self, threshold: float) -> ImageChoice:
        """The image's threshold and review band; `threshold` and no band where none serves."""
        histograms = self.states["image_counts"]
        chosen, reason = self._threshold(histograms)
        band = (threshold, threshold)
        if chosen is not None:
            threshold, band = chosen, self._review_band(histograms, chosen)
        inside = [at_or_above(histograms.sum(0), one) for one in band]
        reliability = self.states["reliability"][GOOD_ID]
        return ImageChoice(
            threshold,
            band,
            figures_at(histograms, threshold),
            Proportion(inside[0] - inside[1], int(histograms.sum())),
            float(expected_calibration_error(reliability)),
            reliability,
            reason,
        )

    def for_any(self, pixel: float) -> TypeChoice:
        """The thresholds of types without their own; `pixel` without a mask to learn from."""
        reason = (
            "" if self.states["overlap_count"][GOOD_ID] else "the split has no mask of a defect"
        )
        if not reason:
            pixel = self._extent(GOOD_ID)
        return self._with_alarm(GOOD_ID, pixel, 0.0, reason)

    def for_type(self, row: int, default: TypeChoice) -> TypeChoice:
        """The thresholds of one type; the default ones where too few images show it."""
        pixel, alarm = default.pixel_threshold, default.alarm_threshold
        shown = int(self.states["peak_counts"][row, 1].sum())
        if shown < self.rule.min_images:
            reason = f"shown by {shown} images, fewer than {self.rule.min_images}: the default"
            return self._described(row, pixel, alarm, reason)
        masks, reason = int(self.states["overlap_count"][row]), ""
        if masks < self.rule.min_images:
            reason = f"{masks} masks, fewer than {self.rule.min_images}: the default extent"
        else:
            pixel = self._extent(row)
        return self._with_alarm(row, pixel, alarm, reason)

    def _extent(self, row: int) -> float:
        """The pixel threshold of the best mean IoU over the images that show the type."""
        overlap = self.states["overlap_sum"][row]
        return edge(middle_of_run(overlap, int(overlap.argmax())))

    def _with_alarm(self, row: int, pixel: float, alarm: float, reason: str) -> TypeChoice:
        """The type's choice with the alarm that the objective asks for."""
        if self.rule.objective == BALANCED:
            return self._described(row, pixel, alarm, reason)
        chosen, missing = self._threshold(self.states["peak_counts"][row])
        if chosen is not None:
            # A mask that began above the alarm would stay silent where one is due.
            pixel, alarm = min(pixel, chosen), chosen
        return self._described(row, pixel, alarm, "; ".join(filter(None, (reason, missing))))

    def _threshold(self, histograms: Tensor) -> tuple[float | None, str]:
        """The threshold that serves the objective, or why there is none."""
        good, defect = histograms.sum(1).tolist()
        if not good or not defect:
            return None, f"no image {'without' if defect else 'with'} a defect: the default"
        place = self.rule.objective.choose(histograms)
        if place is None:
            return None, f"no threshold has {self.rule.objective}: the default"
        return edge(middle_of_run(sum_from_top(histograms.sum(0)), place)), ""

    def _described(self, row: int, pixel: float, alarm: float, reason: str) -> TypeChoice:
        states = self.states
        rows = slice(1, None) if row == GOOD_ID else slice(row, row + 1)
        error = float(expected_calibration_error(states["reliability"][rows].sum(0)))
        figures = figures_at(states["peak_counts"][row], max(pixel, alarm))
        return TypeChoice(pixel, alarm, figures, error, reason)

    def _review_band(self, histograms: Tensor, threshold: float) -> tuple[float, float]:
        """The narrowest band around the threshold with few enough errors below and above it."""
        good, defect = histograms.double()
        limit, levels = self.rule.review_error_rate, sum_from_top(histograms.sum(0))
        missed = (defect.cumsum(0) - defect) / defect.sum()
        alarmed = sum_from_top(good) / good.sum()
        low = int(torch.nonzero(missed <= limit).max())
        high = torch.nonzero(alarmed <= limit).flatten().tolist()
        return (
            min(threshold, edge(middle_of_run(levels, low))),
            max(threshold, edge(middle_of_run(levels, high[0])) if high else 1.0),
        )


def edge(place: int) -> float:
    """The lowest score of a bin."""
    return lower_edge(place, SCORE_BINS)


def at_or_above(histogram: Tensor, threshold: float) -> int:
    """How many scores of a histogram (bins,) reach the threshold, exact at a bin's edge."""
    logit = float(torch.logit(torch.tensor(threshold, dtype=torch.float64)))
    place = (max(logit, -LOGIT_LIMIT) + LOGIT_LIMIT) / (2 * LOGIT_LIMIT) * len(histogram)
    # The edge itself comes back from its own logit with a rounding error.
    return int(histogram[math.ceil(min(place, len(histogram)) - 1e-3) :].sum())


def figures_at(histograms: Tensor, threshold: float) -> AlarmFigures:
    """What a threshold finds, raises and gets right; histograms: (2, bins) of good and defect."""
    raised, found = (at_or_above(histogram, threshold) for histogram in histograms)
    good, defect = histograms.sum(1).tolist()
    return AlarmFigures(
        recall=Proportion(found, defect),
        false_alarm_rate=Proportion(raised, good),
        precision=Proportion(found, found + raised),
    )
