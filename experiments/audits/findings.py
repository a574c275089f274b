"""What an audit brings home: findings one by one, figures, and tables, in named sections."""

import csv
import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from experiments.tables import Table


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
