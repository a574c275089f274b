"""A figure over seeds: its mean and how far that can be trusted."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

CONFIDENCE = 0.95


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of one figure over seeds with its interval; low and high are nan for one seed."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]

    @property
    def seeds(self) -> int:
        """How many seeds gave a number."""
        return len(self.values)


def estimate(values: Sequence[float]) -> Estimate | None:
    """The mean with Student's 95 % interval; None where no value is a number.

    One seed says nothing of how far off it is, so that its interval is nan.
    """
    known = tuple(value for value in values if not math.isnan(value))
    if not known:
        return None
    mean = math.fsum(known) / len(known)
    if len(known) == 1:
        return Estimate(mean, math.nan, math.nan, known)
    error = stats.sem(known)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1) * error)
    return Estimate(mean, mean - half, mean + half, known)


def is_parted(change: Estimate | None) -> bool:
    """Whether the interval of a difference leaves zero out.

    Two or three seeds that agree to the last digit say that figures come in steps, not that the
    difference is known that well: without a spread nothing is parted.
    """
    return change is not None and change.low < change.high and change.low * change.high > 0


def in_words(change: Estimate) -> str:
    """A difference in words, and whether it can be told from none."""
    if math.isnan(change.low):
        return f"{change.mean:+.3f}; one seed, nothing can be said"
    if change.low == change.high:
        return f"{change.mean:+.3f} under each of {change.seeds} seeds; their spread is unknown"
    words = f"{change.mean:+.3f} ({change.low:+.3f} to {change.high:+.3f})"
    return words if is_parted(change) else f"{words}, which may be nothing"


def first_reaching(
    counts: Sequence[float], figures: Sequence[float], target: float
) -> float | None:
    """The least count at which the curve reaches `target`, None where it never does.

    counts ascend, figures are numbers. Between two counts the curve is a line over their logarithm,
    as sample counts are spaced; what the first count reaches already is answered by that count.
    """
    points = list(zip(counts, figures, strict=True))
    if points and points[0][1] >= target:
        return points[0][0]
    for (before, low), (after, high) in itertools.pairwise(points):
        if low < target <= high:
            share = (target - low) / (high - low)
            return math.exp(math.log(before) + share * (math.log(after) - math.log(before)))
    return None
