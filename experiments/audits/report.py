"""An audit as Markdown, as flat figures, and as one row per finding; the page is `page.py`."""

import csv
import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from experiments.audits.findings import Finding, Section
from experiments.tables import Table, to_markdown

SHOWN_OF_A_KIND = 10
SHOWN_ROWS = 30


def figures_table(section: Section) -> Table:
    """The figures of a section, one a row."""
    return Table(section.title, ("figure", "value"), tuple(section.figures.items()))


def to_text(title: str, sections: Sequence[Section]) -> str:
    """The whole audit in Markdown; long lists say how much was left out."""
    lines = [f"# Audit of {title}", ""]
    for section in sections:
        lines += [f"## {section.title}", ""]
        if section.note:
            lines += [f"Note: {section.note}.", ""]
        lines += [to_markdown(untitled(figures_table(section))), ""]
        for table in section.tables:
            lines += [f"### {table.title}", "", to_markdown(untitled(shortened(table))), ""]
        for kind in sorted({finding.kind for finding in section.findings}):
            lines += [f"### {kind}", "", *kind_lines(section.findings, kind), ""]
    return "\n".join(lines).rstrip() + "\n"


def kind_lines(findings: Sequence[Finding], kind: str) -> list[str]:
    """The first findings of a kind as a list, and how many more there are."""
    chosen = [finding for finding in findings if finding.kind == kind]
    lines = [f"- `{plain(f.image)}`{_second(f)}: {plain(f.evidence)}" for f in chosen]
    left_out = len(lines) - SHOWN_OF_A_KIND
    more = [f"- and {left_out} more, all in findings.csv"] if left_out > 0 else []
    return lines[:SHOWN_OF_A_KIND] + more


def write_figures(path: Path, sections: Sequence[Section]) -> None:
    """All figures as JSON, `section/figure`; what is undefined is null."""
    flat = {
        f"{section.title}/{name}": None if math.isnan(value) else value
        for section in sections
        for name, value in section.figures.items()
    }
    path.write_text(json.dumps(flat, indent=2) + "\n", encoding="utf-8")


def write_findings(path: Path, sections: Sequence[Section]) -> None:
    """All findings as CSV."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("section", "kind", "image", "other", "evidence"))
        for section in sections:
            writer.writerows(
                (section.title, f.kind, f.image, f.other, f.evidence) for f in section.findings
            )


def kinds_of(sections: Sequence[Section]) -> Counter[str]:
    """How many findings of each kind the whole audit has."""
    return Counter(finding.kind for section in sections for finding in section.findings)


def shortened(table: Table) -> Table:
    """The table with its first rows; the last one says how many were left out."""
    left_out = len(table.rows) - SHOWN_ROWS
    if left_out <= 0:
        return table
    last = (f"and {left_out} more", *([None] * (len(table.columns) - 1)))
    return Table(table.title, table.columns, (*table.rows[:SHOWN_ROWS], last))


def untitled(table: Table) -> Table:
    """The table without its title, for where a heading stands above it."""
    return Table("", table.columns, table.rows)


def plain(text: str) -> str:
    """Text on one line that Markdown leaves as it is, cut where it is very long."""
    line = " ".join(text.split()).replace("`", "'").replace("|", "/")
    return line if len(line) <= 200 else f"{line[:197]}..."


def _second(finding: Finding) -> str:
    return f" - `{plain(finding.other)}`" if finding.other else ""
