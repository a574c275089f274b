"""Thresholds chosen from the counts of a calibration split, with the figures they have there.

What is counted is in `calibration_counts.py`, what a threshold is chosen for in `objectives.py`.
"""

import math

import torch
from torch import Tensor

from datamodules.sample import GOOD_ID
from lightning_modules.metrics.calibration import (
    AlarmFigures,
    Calibration,
    CalibrationRule,
    ImageChoice,
    TypeChoice,
)
from lightning_modules.metrics.calibration_counts import (
    SCORE_BINS,
    CalibrationCounts,
    expected_calibration_error,
)
from lightning_modules.metrics.objectives import BALANCED, middle_of_run
from lightning_modules.metrics.proportion import Proportion
from lightning_modules.metrics.score_histogram import LOGIT_LIMIT, lower_edge, sum_from_top


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
