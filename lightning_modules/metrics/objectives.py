"""What a threshold is chosen for, and the bin of a score histogram that serves it."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_modules.metrics.score_histogram import sum_from_top


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
        return RULES[self.name](false_rate, recall, float(defect.sum() / good.sum()), self.target)


BALANCED = Objective("balanced")


def parse_objective(text: str) -> Objective:
    """The objective that a user typed, such as `recall=0.95`; ValueError for none."""
    name, equals, number = text.replace(" ", "").partition("=")
    try:
        target = float(number) if equals else math.nan
    except ValueError:
        target = math.inf
    has_target = 0.0 <= target <= 1.0
    if name not in RULES or has_target != (name in TARGETED) or has_target != bool(equals):
        raise ValueError(
            f"got the objective {text!r}: expected balanced, best_f1, recall=0.95 or "
            "false_alarm_rate=0.01, with a target in [0, 1]"
        )
    return Objective(name, target)


def _balanced(false_rate: Tensor, recall: Tensor, odds: float, target: float) -> int:
    return int((recall - false_rate).argmax())


def _best_f1(false_rate: Tensor, recall: Tensor, odds: float, target: float) -> int:
    """F1 from rates: odds are the defects per good one."""
    return int((2 * recall / (recall + false_rate / odds + 1)).argmax())


def _recall(false_rate: Tensor, recall: Tensor, odds: float, target: float) -> int:
    """The highest bin that still finds so many."""
    return int(torch.nonzero(recall >= target).max())


def _false_alarm_rate(false_rate: Tensor, recall: Tensor, odds: float, target: float) -> int | None:
    """The lowest bin that raises no more."""
    return next(iter(torch.nonzero(false_rate <= target).flatten().tolist()), None)


RULES: dict[str, Callable[[Tensor, Tensor, float, float], int | None]] = {
    "balanced": _balanced,
    "best_f1": _best_f1,
    "recall": _recall,
    "false_alarm_rate": _false_alarm_rate,
}
TARGETED = ("recall", "false_alarm_rate")


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
