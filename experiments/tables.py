"""Rows of text and numbers for a terminal, as Markdown, CSV or LaTeX; nothing here reads a run."""

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

Cell = str | float | int | None
MISSING = "-"
WIDTH_IN_A_FILE = 160
LATEX_ESCAPES = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {letter: f"\\{letter}" for letter in "&%$#_{}"}
)


@dataclass(frozen=True, slots=True)
class Table:
    """A titled table; every row has one cell per column."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        assert all(len(row) == len(self.columns) for row in self.rows), self.title


def format_cell(cell: Cell) -> str:
    """The cell as text: four significant digits, `-` for what is missing or nan."""
    if cell is None or _is_missing(cell):
        return MISSING
    if isinstance(cell, float):
        if cell.is_integer() and abs(cell) < 1e15:
            return str(int(cell)) if abs(cell) >= 10 else f"{cell:.1f}"
        return f"{cell:.4f}" if 1e-3 <= abs(cell) < 10 else f"{cell:.4g}"
    return str(cell)


def to_rich(table: Table) -> RichTable:
    """The table for a rich console; numbers are right-aligned, and [x] is a name, no style."""
    drawn = RichTable(title=Text(table.title) if table.title else None)
    for index, column in enumerate(table.columns):
        numeric = any(isinstance(row[index], int | float) for row in table.rows)
        # Folded, not cut: a metric name that ends in "..." names nothing.
        drawn.add_column(Text(column), justify="right" if numeric else "left", overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Text(format_cell(cell)) for cell in row))
    return drawn


def print_table(table: Table) -> None:
    """The table on the terminal, or wide enough to be read where there is none."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=WIDTH_IN_A_FILE)
    console.print(to_rich(table))


def to_markdown(table: Table) -> str:
    """The table as Markdown, title first, without a trailing line break."""
    lines = [f"**{table.title}**", ""] if table.title else []
    lines.append(_markdown_row(table.columns))
    lines.append(_markdown_row(["---"] * len(table.columns)))
    lines += [_markdown_row([format_cell(cell) for cell in row]) for row in table.rows]
    return "\n".join(lines)


def metrics_table(title: str, metrics: Mapping[str, float]) -> Table:
    """One row per metric, in the order given."""
    return Table(title, ("metric", "value"), tuple(metrics.items()))


def _markdown_row(cells: Sequence[str]) -> str:
    """One line of a Markdown table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def to_csv(table: Table) -> str:
    """The table as CSV, numbers in full, missing ones empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([["" if _is_missing(cell) else cell for cell in row] for row in table.rows])
    return text.getvalue()


def to_latex(table: Table) -> str:
    """The table as a LaTeX tabular with its title as the caption; needs booktabs."""
    rows = [table.columns, *(tuple(map(format_cell, row)) for row in table.rows)]
    head, *body = [
        " & ".join(cell.translate(LATEX_ESCAPES) for cell in row) + r" \\" for row in rows
    ]
    lines = [
        r"\begin{table}",
        rf"\caption{{{table.title.translate(LATEX_ESCAPES)}}}",
        rf"\begin{{tabular}}{{{'l' * len(table.columns)}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _is_missing(cell: Cell) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))
