"""A share of counted things, and how sure one can be of it."""

import math
from dataclasses import dataclass

NORMAL_95 = 1.959963984540054


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
        weight = NORMAL_95**2 / self.of
        middle = self.value + weight / 2
        half = math.sqrt(weight * (self.value * (1 - self.value) + weight / 4))
        low, high = (middle - half) / (1 + weight), (middle + half) / (1 + weight)
        return max(0.0, low), min(1.0, high)

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
