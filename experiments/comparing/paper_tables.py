"""Ours beside the paper's: a table whose rows say what they are, and never mix two settings.

The paper's own figures are in `paper_figures.py`; tables are printed by `experiments/tables.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from matplotlib.figure import Figure

from experiments.comparing.estimates import Estimate
from experiments.tables import Cell, Table, format_cell

UNSTATED = "unstated"
MEASURED, PAPER_ONLY, NOT_RUN = "measured", "paper only", "not run"
NOT_REACHED = "not reached"
NO_ANSWER = "no answer"  # has run, but the data cannot give this figure: an IoU of boxes, say
# For machines: the interval as two numbers, where a figure stands and which runs gave it.
NUMBERS = (
    *("figure", "ours", "low", "high", "seeds", "paper", "source"),
    *("status", "data", "setting", "scale", "runs"),
)
COLUMNS = (
    "figure",
    "ours",
    "95 % interval",
    "seeds",
    "paper",
    "status",
    "data",
    "setting",
    "scale",
)


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """One number of the paper in the unit of ours, where it stands, and of what it is.

    setting: zero_shot, k_shot_K (of each type), budget_N (in all) or full, UNSTATED where the
    paper does not say (NOTES 22).
    """

    value: float
    source: str
    setting: str
    data: str

    def fits(self, setting: str, data: str) -> bool:
        """Whether a figure of ours may stand beside it."""
        return (setting, data) == (self.setting, self.data)


@dataclass(frozen=True, slots=True)
class Row:
    """One line: what varies, by column; which figure; ours, the paper's, or both.

    setting, data: of ours, as its runs say; "" where nothing has run. outcome: what came out where
    that is no number, such as NOT_REACHED. Raises ValueError where the
    paper's figure is of another setting or data: the two say nothing of each other.
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

    def cells(self, columns: Sequence[str]) -> tuple[Cell, ...]:
        """The row as cells: labels, then COLUMNS."""
        ours = self.ours
        interval = "-" if ours is None or ours.seeds < 2 else _interval(ours)
        setting = self.setting or (self.paper.setting if self.paper else "")
        data = self.data or (self.paper.data if self.paper else "")
        return (
            *(self.labels.get(column, "") for column in columns),
            self.figure,
            ours.mean if ours else None,
            interval,
            ours.seeds if ours else 0,
            self.paper.value if self.paper else None,
            self.status,
            data or "-",
            setting or "-",
            self.scale or "-",
        )

    def numbers(self, columns: Sequence[str]) -> tuple[Cell, ...]:
        """The row as cells: labels, then NUMBERS; `low` and `high` are the 95 % interval."""
        ours, paper = self.ours, self.paper
        return (
            *(self.labels.get(column, "") for column in columns),
            self.figure,
            *((ours.mean, ours.low, ours.high, ours.seeds) if ours else (None, None, None, 0)),
            *((paper.value, paper.source) if paper else (None, "")),
            self.status,
            self.data or (paper.data if paper else ""),
            self.setting or (paper.setting if paper else ""),
            self.scale,
            " ".join(self.runs),
        )


@dataclass(frozen=True, slots=True)
class PaperTable:
    """Rows under a title; `columns` are the labels that rows may have."""

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    def as_table(self) -> Table:
        """The table as text."""
        cells = tuple(row.cells(self.columns) for row in self.rows)
        return Table(self.title, (*self.columns, *COLUMNS), cells)

    def as_numbers(self) -> Table:
        """The table for machines: every number in full and in a cell of its own."""
        cells = tuple(row.numbers(self.columns) for row in self.rows)
        return Table(self.title, (*self.columns, *NUMBERS), cells)


@dataclass(frozen=True, slots=True)
class Report:
    """What a study says: tables, figures by name, and answers in sentences."""

    tables: tuple[PaperTable, ...]
    figures: Mapping[str, Figure] = field(default_factory=dict)
    answers: tuple[str, ...] = ()


def rows_of(ours: Row, paper: PaperFigure | None) -> tuple[Row, ...]:
    """One row where ours and the paper's figure are of one setting and data, else a row each."""
    if paper is None:
        return (ours,)
    if ours.status == NOT_RUN or paper.fits(ours.setting, ours.data):
        return (replace(ours, paper=paper),)
    return (ours, Row(ours.labels, ours.figure, None, paper))


def _interval(ours: Estimate) -> str:
    return f"{format_cell(ours.low)} to {format_cell(ours.high)}"
