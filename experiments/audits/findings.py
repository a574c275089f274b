"""What an audit brings home: findings one by one, figures, and tables, in named sections."""

import csv
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.tables import Table, to_markdown

LINES_OF_A_KIND = 10
ROWS_OF_A_TABLE = 30


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: its kind, the image, a second image where two are involved."""

    kind: str
    image: str
    evidence: str
    other: str = ""


@dataclass(frozen=True)
class Section:
    """One part of an audit. figures: by their names; note: what the reader must know."""

    title: str
    figures: dict[str, float]
    tables: list[Table] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    note: str = ""

    def figures_table(self) -> Table:
        """The figures, one a row."""
        return Table(self.title, ("figure", "value"), tuple(self.figures.items()))


def counts_of(findings: Sequence[Finding]) -> dict[str, float]:
    """How many findings of each kind, by kind."""
    return {kind: float(count) for kind, count in sorted(Counter(f.kind for f in findings).items())}


def to_text(title: str, sections: Sequence[Section]) -> str:
    """The audit in Markdown; where a list or a table is long, it says how much was left out."""
    lines = [f"# Audit of {title}", ""]
    for section in sections:
        lines += [f"## {section.title}", "", *([section.note, ""] if section.note else [])]
        for table in (section.figures_table(), *section.tables):
            shown = Table(table.title, table.columns, table.rows[:ROWS_OF_A_TABLE])
            lines += [to_markdown(shown), ""]
            lines += _left_out(len(table.rows) - ROWS_OF_A_TABLE)
        for kind in counts_of(section.findings):
            found = [one for one in section.findings if one.kind == kind]
            lines += [f"### {kind}: {len(found)}", ""]
            for one in found[:LINES_OF_A_KIND]:
                images = " - ".join(f"`{name}`" for name in (one.image, one.other) if name)
                lines.append(f"- {images}: {' '.join(one.evidence.split())}")
            lines += ["", *_left_out(len(found) - LINES_OF_A_KIND)]
    return "\n".join(lines).rstrip() + "\n"


def _left_out(count: int) -> list[str]:
    return [f"and {count} more", ""] if count > 0 else []


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
