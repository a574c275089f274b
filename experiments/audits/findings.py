"""What an audit brings home: findings one by one, figures, and tables, in named sections."""

from collections import Counter
from dataclasses import dataclass, field

from experiments.tables import Table


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong: its kind, the picture, a second picture where two are involved."""

    kind: str
    image: str
    evidence: str
    other: str = ""


@dataclass(frozen=True)
class Section:
    """One part of an audit. figures: flat names to numbers; note: what the reader must know."""

    title: str
    figures: dict[str, float]
    tables: list[Table] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    note: str = ""


def counts_of(findings: list[Finding]) -> dict[str, float]:
    """How many findings of each kind, by kind."""
    return {kind: float(count) for kind, count in sorted(Counter(f.kind for f in findings).items())}
