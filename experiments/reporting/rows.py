"""Rows of a report: a figure of ours over seeds beside the paper's, where they are of one thing.

The paper's own figures are in `paper_figures.yaml`; tables are printed by `experiments/tables.py`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import yaml

from experiments.tables import Cell, Table, format_cell

PAPER_FILE = Path(__file__).with_name("paper_figures.yaml")
UNSTATED = "unstated"
CONFIDENCE = 0.95
MEASURED, PAPER_ONLY, NOT_RUN = "measured", "paper only", "not run"
NOT_REACHED = "not reached"
NO_ANSWER = "no answer"  # has run, but the data cannot give this figure: an IoU of boxes, say
COLUMNS = (
    *("figure", "ours", "95 % interval, or both seeds", "seeds", "paper"),
    *("status", "data", "setting", "scale"),
)


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """One number of the paper in the unit of ours, its place, and what it was measured on."""

    value: float
    source: str
    setting: str
    data: str

    def fits(self, setting: str, data: str) -> bool:
        """Whether a figure of ours may stand beside it."""
        return (setting, data) == (self.setting, self.data)


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of one figure over seeds with Student's 95 % interval; nan for one seed."""

    mean: float
    low: float
    high: float
    values: tuple[float, ...]

    @property
    def ends(self) -> tuple[float, float]:
        """The interval as it is drawn: that of two seeds would be wider than any figure."""
        if len(self.values) == 2:
            return min(self.values), max(self.values)
        return self.low, self.high

    def spread(self, write: Callable[[float], str] = format_cell) -> str:
        """The interval in words, both values of two seeds, "" of one."""
        if len(self.values) > 2:
            return f"{write(self.low)} to {write(self.high)}"
        return " and ".join(map(write, self.values)) if len(self.values) == 2 else ""

    @property
    def excludes_zero(self) -> bool:
        """Whether a difference can be told from none.

        Seeds that agree to the last digit say that figures come in steps, not that the difference
        is known that well: without a spread nothing can be told.
        """
        return self.low < self.high and self.low * self.high > 0

    def in_words(self) -> str:
        """A difference in words, and whether it can be told from none."""
        if len(self.values) == 1:
            return f"{self.mean:+.3f}; one seed, nothing can be said"
        if self.low == self.high:
            return (
                f"{self.mean:+.3f} under each of {len(self.values)} seeds; their spread is unknown"
            )
        words = f"{self.mean:+.3f} ({self.spread('{:+.3f}'.format)})"
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
    that is no number, such as NOT_REACHED.
    """

    labels: Mapping[str, str]
    figure: str
    ours: Estimate | None = None
    paper: PaperFigure | None = None
    setting: str = ""
    data: str = ""
    scale: str = ""
    runs: tuple[str, ...] = ()
    outcome: str = ""

    def __post_init__(self) -> None:
        if self.ours and self.paper:
            assert self.paper.fits(self.setting, self.data), "they say nothing of each other"

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

    def beside(self, paper: PaperFigure | None) -> list["Row"]:
        """One row where the paper's figure is of the same setting and data, else a row each."""
        if paper is None:
            return [self]
        if self.status == NOT_RUN or paper.fits(self.setting, self.data):
            return [replace(self, paper=paper)]
        return [self, Row(self.labels, self.figure, paper=paper)]

    def cells(self) -> tuple[Cell, ...]:
        """What a table shows of it, in the order of COLUMNS."""
        ours, paper = self.ours, self.paper
        return (
            self.figure,
            ours.mean if ours else None,
            (ours and ours.spread()) or None,
            len(ours.values) if ours else 0,
            paper.value if paper else None,
            self.status,
            self.data or (paper and paper.data) or None,
            self.setting or (paper and paper.setting) or None,
            self.scale or None,
        )


@dataclass(frozen=True, slots=True)
class PaperTable:
    """Rows under a title; `columns` are the labels that rows may have."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def as_table(self) -> Table:
        """The table as text and numbers."""
        cells = [(*map(row.labels.get, self.columns), *row.cells()) for row in self.rows]
        return Table(self.title, (*self.columns, *COLUMNS), tuple(cells))


@cache
def paper_tables() -> dict[str, list[Row]]:
    """The paper's tables by name, a row for each figure, as far as one of our studies asks."""
    tables: dict[str, list[Row]] = {}
    for name, table in yaml.safe_load(PAPER_FILE.read_text(encoding="utf-8")).items():
        tables[name] = []
        for row in table["rows"]:
            labels = {column: cell for column, cell in row.items() if isinstance(cell, str)}
            data = table.get("data", "").format(**labels)
            place = (table["source"], table.get("setting", UNSTATED), data)
            tables[name] += [
                Row(labels, figure, paper=PaperFigure(cell, *place))
                for figure, cell in row.items()
                if figure not in labels
            ]
    return tables


def paper_figure(table: str, labels: Mapping[str, str], figure: str) -> PaperFigure | None:
    """The paper's figure in the row whose labels are among these; None where it has none."""
    for row in paper_tables()[table] if table else ():
        if row.figure == figure and row.labels.items() <= labels.items():
            return row.paper
    return None
