"""The thresholds that a calibration split gives, and the figures they have there.

What is counted for them is in `calibration_counts.py`, what they do in `nets/post_processing.py`.
"""

import math
from dataclasses import asdict, dataclass

import torch
from scipy.stats import binomtest
from torch import Tensor

from datamodules.sample import GOOD_ID
from lightning_modules.metrics.calibration_counts import (
    CalibrationCounts,
    expected_calibration_error,
)
from lightning_modules.metrics.score_histogram import LOGIT_LIMIT, lower_edge, sum_from_top
from lightning_modules.metrics.segmentation import from_units

FALSE_ALARM_RATE = "false_alarm_rate"
PLAIN, TARGETED = ("balanced", "best_f1"), ("recall", FALSE_ALARM_RATE)


@dataclass(frozen=True, slots=True)
class Proportion:
    """`value` = `hits` / `of` in Wilson's 95 % interval; None where there was nothing to count."""

    value: float | None
    low: float | None
    high: float | None
    hits: int
    of: int


def proportion(hits: int, of: int) -> Proportion:
    """`hits` out of `of` with its interval, which is not empty at 0 of n or n of n."""
    if not of:
        return Proportion(None, None, None, hits, of)
    interval = binomtest(hits, of).proportion_ci(0.95, method="wilson")
    value, low, high = (round(float(one), 6) for one in (hits / of, interval.low, interval.high))
    return Proportion(value, low, high, hits, of)


@dataclass(frozen=True, slots=True)
class Objective:
    """`balanced`, `best_f1`, `recall` or `false_alarm_rate`; the last two with a target.

    `balanced` is the highest mean accuracy on good and on defect for the image's answer, and
    leaves alarms where masks begin, or without a mask where they were.
    """

    name: str
    target: float = math.nan

    def __str__(self) -> str:
        return self.name if math.isnan(self.target) else f"{self.name}={self.target:g}"

    def choose(self, histograms: Tensor) -> int | None:
        """The lowest bin that speaks up; None where no threshold serves or parts good from defect.

        histograms: (2, bins) of good and defect, both with entries; a false alarm rate asks for
        good ones alone.
        """
        good, defect = histograms.double()
        false_rate, recall = sum_from_top(good) / good.sum(), sum_from_top(defect) / defect.sum()
        match self.name:
            case "balanced":
                gain = recall - false_rate
                return int(gain.argmax()) if gain.max() > 0 else None
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
class TypeChoice:
    """The thresholds of one type, or of any, and what they do on the split.

    named: of the images that show its pixels, where these vote for its name; ece: None without
    images; reason: why the thresholds are not its own.
    """

    pixel_threshold: float
    alarm_threshold: float
    recall: Proportion
    false_alarm_rate: Proportion
    precision: Proportion
    named: Proportion
    ece: float | None
    reason: str


@dataclass(frozen=True, slots=True)
class ImageChoice:
    """The threshold of the image score, the band in which a person judges, and what they do.

    reliability: `images`, `defective` and `mean_score` of each bin of scores.
    """

    threshold: float
    review_low: float
    review_high: float
    recall: Proportion
    false_alarm_rate: Proportion
    precision: Proportion
    review_share: Proportion
    ece: float | None
    reliability: dict[str, list[float]]
    reason: str


@dataclass(frozen=True, slots=True)
class Calibration:
    """All that was chosen on a split; default: for types without thresholds of their own."""

    objective: str
    min_images: int
    review_error_rate: float
    image: ImageChoice
    default: TypeChoice
    types: dict[str, TypeChoice]

    def content(self) -> dict[str, object]:
        """Plain values for a file."""
        return asdict(self)


def choose_thresholds(
    counts: CalibrationCounts,
    rule: CalibrationRule,
    *,
    pixel: float,
    image: float,
    alarm: float = 0.0,
) -> Calibration:
    """The thresholds that the rule asks for, from what all processes have counted.

    pixel, image, alarm: the ones that stay where the split cannot tell.
    """
    with counts.sync_context():
        states = {name: getattr(counts, name).cpu() for name in counts.metric_state}
    choice = ThresholdChoice(states, rule)
    default = choice.for_any(pixel, alarm)
    names = counts.class_names[GOOD_ID + 1 :]
    return Calibration(
        str(rule.objective),
        rule.min_images,
        rule.review_error_rate,
        choice.for_image(image),
        default,
        {name: choice.for_type(row, default) for row, name in enumerate(names, start=1)},
    )


class ThresholdChoice:
    """Chooses by one rule from the states of CalibrationCounts, by name, on the CPU."""

    def __init__(self, states: dict[str, Tensor], rule: CalibrationRule) -> None:
        self.states, self.rule = states, rule

    def for_image(self, threshold: float) -> ImageChoice:
        """The image's threshold and review band; `threshold` and no band where none serves."""
        histograms = self.states["image_counts"]
        chosen, reason = self._threshold(histograms)
        low = high = threshold
        if chosen is not None:
            threshold = chosen
            low, high = self._review_band(histograms, chosen)
        inside = at_or_above(histograms.sum(0), low) - at_or_above(histograms.sum(0), high)
        reliability = self.states["reliability"][GOOD_ID]
        images, defective, units = reliability.unbind(1)
        scores = from_units(units) / images.clamp(min=1)
        return ImageChoice(
            threshold,
            low,
            high,
            **figures_at(histograms, threshold),
            review_share=proportion(inside, int(histograms.sum())),
            ece=error_of(reliability),
            reliability={
                "images": images.tolist(),
                "defective": defective.tolist(),
                "mean_score": [round(score, 4) for score in scores.tolist()],
            },
            reason=reason,
        )

    def for_any(self, pixel: float, alarm: float) -> TypeChoice:
        """The thresholds of types without their own; those given without a mask to learn from."""
        if self.states["overlap_count"][GOOD_ID]:
            return self._with_alarm(GOOD_ID, self._extent(GOOD_ID), 0.0, "")
        return self._with_alarm(GOOD_ID, pixel, alarm, "the split has no mask of a defect")

    def for_type(self, row: int, default: TypeChoice) -> TypeChoice:
        """The thresholds of one type; the default ones where too few images show it."""
        pixel, alarm = default.pixel_threshold, default.alarm_threshold
        fewest = self.rule.min_images
        shown = int(self.states["peak_counts"][row, 1].sum())
        if shown < fewest:
            reason = f"shown by {shown} images, fewer than {fewest}: the default"
            return self._described(row, pixel, alarm, reason)
        masks = int(self.states["overlap_count"][row])
        if masks < fewest:
            reason = f"{masks} masks, fewer than {fewest}: the default extent"
            return self._with_alarm(row, pixel, alarm, reason)
        return self._with_alarm(row, self._extent(row), alarm, "")

    def _extent(self, row: int) -> float:
        """The pixel threshold of the best mean IoU over the images that show the type."""
        overlap = self.states["overlap_sum"][row]
        return middle_of_run(overlap, int(overlap.argmax()))

    def _with_alarm(self, row: int, pixel: float, alarm: float, reason: str) -> TypeChoice:
        """The type's choice with the alarm that the objective asks for."""
        if self.rule.objective != BALANCED:
            chosen, missing = self._threshold(self.states["peak_counts"][row])
            reason = "; ".join(filter(None, (reason, missing)))
            if chosen is not None:
                # A mask that began above the alarm would stay silent where one is due.
                pixel, alarm = min(pixel, chosen), chosen
        return self._described(row, pixel, alarm, reason)

    def _described(self, row: int, pixel: float, alarm: float, reason: str) -> TypeChoice:
        rows = slice(1, None) if row == GOOD_ID else slice(row, row + 1)
        figures = figures_at(self.states["peak_counts"][row], max(pixel, alarm))
        error = error_of(self.states["reliability"][rows].sum(0))
        named = proportion(*self.states["named"][row].tolist())
        return TypeChoice(pixel, alarm, **figures, named=named, ece=error, reason=reason)

    def _threshold(self, histograms: Tensor) -> tuple[float | None, str]:
        """The threshold that serves the objective, or why there is none."""
        good, defect = histograms.sum(1).tolist()
        if good and not defect and self.rule.objective.name == FALSE_ALARM_RATE:
            place = self.rule.objective.choose(histograms)
            if place is None:
                return None, f"no threshold has {self.rule.objective}: the default"
            # Nothing above is known: the lowest threshold, not the middle of all that serve.
            return lower_edge(place, histograms.shape[1]), ""
        if not good or not defect:
            return None, f"no image {'without' if defect else 'with'} a defect: the default"
        place = self.rule.objective.choose(histograms)
        if place is None:
            is_balanced = self.rule.objective == BALANCED
            what = "parts good from defect" if is_balanced else f"has {self.rule.objective}"
            return None, f"no threshold {what}: the default"
        return middle_of_run(sum_from_top(histograms.sum(0)), place), ""

    def _review_band(self, histograms: Tensor, threshold: float) -> tuple[float, float]:
        """The narrowest band around the threshold with few enough errors below and above it."""
        good, defect = histograms.double()
        if not defect.sum():
            return threshold, threshold
        limit, levels = self.rule.review_error_rate, sum_from_top(histograms.sum(0))
        missed = (defect.cumsum(0) - defect) / defect.sum()
        alarmed = sum_from_top(good) / good.sum()
        low = int(torch.nonzero(missed <= limit).max())
        high = torch.nonzero(alarmed <= limit).flatten().tolist()
        return (
            min(threshold, middle_of_run(levels, low)),
            max(threshold, middle_of_run(levels, high[0]) if high else 1.0),
        )


def middle_of_run(levels: Tensor, place: int) -> float:
    """The lowest score of the bin in the middle of the run of equal levels around `place`.

    levels: (bins,). No score lies between the bins of a run: its thresholds part the same images,
    and the middle one keeps the distance from both.
    """
    other = torch.nonzero(levels != levels[place]).flatten()
    below, above = other[other < place], other[other > place]
    first = int(below[-1]) + 1 if len(below) else 0
    last = int(above[0]) - 1 if len(above) else len(levels) - 1
    return lower_edge((first + last + 1) // 2, len(levels))


def at_or_above(histogram: Tensor, threshold: float) -> int:
    """How many scores of a histogram (bins,) reach the threshold, exact at a bin's edge."""
    bins = torch.arange(len(histogram), dtype=torch.float64)
    edges = torch.sigmoid((2 * bins / len(histogram) - 1) * LOGIT_LIMIT)
    return int(histogram[edges >= threshold - 1e-12].sum())


def figures_at(histograms: Tensor, threshold: float) -> dict[str, Proportion]:
    """What a threshold finds, raises and gets right; histograms: (2, bins) of good and defect."""
    raised, found = (at_or_above(histogram, threshold) for histogram in histograms)
    good, defect = histograms.sum(1).tolist()
    return {
        "recall": proportion(found, defect),
        "false_alarm_rate": proportion(raised, good),
        "precision": proportion(found, found + raised),
    }


def error_of(reliability: Tensor) -> float | None:
    """The expected calibration error for a file, None without images."""
    error = float(expected_calibration_error(reliability))
    return None if math.isnan(error) else round(error, 6)
