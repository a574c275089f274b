"""Ours beside the paper's: figures over seeds, rows that never mix two settings, and charts.

The paper's own figures are in `paper_figures.py`; tables are printed by `experiments/tables.py`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from experiments.reporting.paper_figures import PaperFigure
from experiments.tables import Cell, Table, format_cell

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CONFIDENCE = 0.95
MEASURED, PAPER_ONLY, NOT_RUN = "measured", "paper only", "not run"
NOT_REACHED = "not reached"
NO_ANSWER = "no answer"  # has run, but the data cannot give this figure: an IoU of boxes, say
SPREAD = "95 % interval, or both seeds"
COLUMNS = ("figure", "ours", SPREAD, "seeds", "paper", "status", "data", "setting", "scale")
# For machines: the interval as two numbers, where a figure stands and which runs gave it.
NUMBERS = (
    *("figure", "ours", "low", "high", "seeds", "values", "paper", "source"),
    *("status", "data", "setting", "scale", "runs"),
)
WIDTH_IN, HEIGHT_IN = 6.0, 3.6


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of one figure over seeds with Student's 95 % interval; nan for one seed."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]

    @property
    def seeds(self) -> int:
        """How many seeds gave a number."""
        return len(self.values)

    @property
    def has_interval(self) -> bool:
        """Whether the interval is worth showing; that of two seeds is wider than any figure."""
        return self.seeds > 2

    @property
    def spread(self) -> str | None:
        """The interval in words, both values of two seeds, None for one."""
        if self.seeds < 2:
            return None
        if self.has_interval:
            return f"{format_cell(self.low)} to {format_cell(self.high)}"
        return " and ".join(map(format_cell, self.values))

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference can be told from none.

        Seeds that agree to the last digit say that figures come in steps, not that the difference
        is known that well: without a spread nothing can be told.
        """
        return self.low < self.high and self.low * self.high > 0

    def in_words(self) -> str:
        """A difference in words, and whether it can be told from none."""
        if math.isnan(self.low):
            return f"{self.mean:+.3f}; one seed, nothing can be said"
        if self.low == self.high:
            return f"{self.mean:+.3f} under each of {self.seeds} seeds; their spread is unknown"
        spread = f"{self.low:+.3f} to {self.high:+.3f}"
        if not self.has_interval:
            spread = " and ".join(f"{value:+.3f}" for value in self.values)
        words = f"{self.mean:+.3f} ({spread})"
        return words if self.excludes_zero else f"{words}, which may be nothing"


def estimate(values: Sequence[float]) -> Estimate | None:
    """The mean of the values that are numbers with its interval; None where none is."""
    from scipy import stats  # here, because it takes half a second to import

    known = tuple(value for value in values if not math.isnan(value))
    if not known:
        return None
    mean = math.fsum(known) / len(known)
    if len(known) == 1:
        return Estimate(mean, math.nan, math.nan, known)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(known) - 1) * stats.sem(known))
    return Estimate(mean, mean - half, mean + half, known)


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what varies, by column; which figure; ours, the paper's, or both.

    setting, data: of ours, as its runs say; "" where nothing has run. outcome: what came out where
    that is no number, such as NOT_REACHED. Raises ValueError where the paper's figure is of another
    setting or data: the two say nothing of each other.
    """

    labels: Mapping[str, str]
    figure: str
    ours: Estimate | None
    paper: PaperFigure | None = None
    setting: str = ""
    data: str = ""
    scale: str = ""
    runs: tuple[str, ...] = ()
    outcome: str = ""

    def __post_init__(self) -> None:
        if self.ours and self.paper and not self.paper.fits(self.setting, self.data):
            raise ValueError(
                f"{self.figure} of {' '.join(self.labels.values())}: ours is of {self.data!r} in "
                f"the setting {self.setting!r}, the paper's ({self.paper.source}) of "
                f"{self.paper.data!r} in {self.paper.setting!r}: expected the same; give them rows "
                "of their own"
            )

    @property
    def status(self) -> str:
        """Whether the row is measured, the paper's word alone, or why it is neither."""
        if self.outcome:
            return self.outcome
        if self.ours:
            return MEASURED
        if self.paper:
            return PAPER_ONLY
        return NO_ANSWER if self.runs else NOT_RUN

    def beside(self, paper: PaperFigure | None) -> tuple["Row", ...]:
        """One row where the paper's figure is of the same setting and data, else a row each."""
        if paper is None:
            return (self,)
        if self.status == NOT_RUN or paper.fits(self.setting, self.data):
            return (replace(self, paper=paper),)
        return (self, Row(self.labels, self.figure, None, paper))

    def cells(self) -> dict[str, Cell]:
        """Every cell by its column, None for what is missing."""
        ours, paper = self.ours, self.paper
        has_interval = ours is not None and ours.has_interval
        return {
            **self.labels,
            "figure": self.figure,
            "ours": ours.mean if ours else None,
            SPREAD: ours.spread if ours else None,
            "low": ours.low if ours and has_interval else None,
            "high": ours.high if ours and has_interval else None,
            "seeds": ours.seeds if ours else 0,
            "values": " ".join(map(str, ours.values)) if ours else None,
            "paper": paper.value if paper else None,
            "source": paper.source if paper else None,
            "status": self.status,
            "data": self.data or (paper.data if paper else "") or None,
            "setting": self.setting or (paper.setting if paper else "") or None,
            "scale": self.scale or None,
            "runs": " ".join(self.runs) or None,
        }


@dataclass(frozen=True, slots=True)
class PaperTable:
    """Rows under a title; `columns` are the labels that rows may have."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def as_table(self, columns: Sequence[str] = COLUMNS) -> Table:
        """The table as text; with NUMBERS for machines, every number in a cell of its own."""
        chosen = (*self.columns, *columns)
        cells = [row.cells() for row in self.rows]
        return Table(self.title, chosen, tuple(tuple(map(row.get, chosen)) for row in cells))


@dataclass(frozen=True, slots=True)
class Report:
    """What a study says: tables, charts by name, and answers in sentences."""

    tables: tuple[PaperTable, ...]
    charts: Mapping[str, "Figure"] = field(default_factory=dict)
    answers: tuple[str, ...] = ()


def curves(
    lines: Mapping[str, Sequence[tuple[float, Estimate | None]]],
    *,
    x: str,
    y: str,
    logarithmic: bool = False,
) -> "Figure":
    """A line per name with its interval as a band; what has not run leaves a gap."""
    figure, axes = _empty_chart(y)
    for name, points in lines.items():
        known = [(at, found) for at, found in points if found]
        places = [at for at, _ in known]
        axes.plot(places, [found.mean for _, found in known], marker="o", label=name)
        low = [found.low if found.has_interval else min(found.values) for _, found in known]
        high = [found.high if found.has_interval else max(found.values) for _, found in known]
        axes.fill_between(places, low, high, alpha=0.2)
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlabel(x)
    axes.grid(alpha=0.3)
    if lines:
        axes.legend()
    return figure


def bars(heights: Mapping[str, Estimate | None], *, y: str) -> "Figure":
    """A bar per name with its interval as a whisker, or with both values of two seeds as dots."""
    figure, axes = _empty_chart(y)
    known = {name: found for name, found in heights.items() if found}
    reach = [
        found.high - found.mean if found.has_interval else math.nan for found in known.values()
    ]
    axes.bar(list(known), [found.mean for found in known.values()], yerr=reach, capsize=4)
    for name, found in known.items():
        if found.seeds == 2:
            axes.plot([name, name], found.values, "k.")
    axes.grid(axis="y", alpha=0.3)
    axes.tick_params(axis="x", rotation=30)
    for label in axes.get_xticklabels():
        label.set_horizontalalignment("right")
    return figure


def _empty_chart(y: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    axes = figure.add_subplot()
    axes.set_ylabel(y)
    return figure, axes
