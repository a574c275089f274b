"""The long tail (section 6.3): which types and products hold how many pictures."""

from collections import Counter

import numpy as np

from datamodules.manifest import Manifest
from datamodules.sample import GOOD, UNLABELLED
from experiments.audits.findings import Finding, Section
from experiments.tables import Cell, Table

TOP_TYPES = 10
FEW_PICTURES = 10


def audit_tail(manifest: Manifest) -> Section:
    """Shares of the ten most frequent types, rare types, tables per type and per domain.

    A domain is the product of the caption. Shares are of defective pictures by dominant type.
    """
    types = manifest.types_of(np.arange(len(manifest)))
    splits = manifest.column("split")
    domains = manifest.caption_column("product")
    counts = Counter(name for name in types if name != GOOD)
    defective = sum(counts.values())
    top = sum(count for _, count in counts.most_common(TOP_TYPES))
    rare = [name for name, count in counts.items() if count < FEW_PICTURES]
    figures = {
        "types": float(len(counts)),
        "domains": float(len(set(domains))),
        "defective_pictures": float(defective),
        "generated_pictures": float(manifest.generated_count),
        "share_of_top_10_types": top / defective if defective else float("nan"),
        "types_below_10_pictures": float(len(rare)),
        "gini_of_types": gini(list(counts.values())),
    }
    by_type = Counter(zip(types, splits, strict=True))
    by_domain = Counter(
        (domain, "unlabelled" if split == UNLABELLED else "good" if name == GOOD else "defective")
        for domain, name, split in zip(domains, types, splits, strict=True)
    )
    findings = [
        Finding("rare_type", name, f"{counts[name]} pictures") for name in sorted(rare)
    ] + missing_types(by_type)
    tables = [
        cross_table("Pictures per type", "type", by_type, ("train", "val", "test", UNLABELLED)),
        cross_table("Pictures per domain", "domain", by_domain, ("defective", "good", UNLABELLED)),
    ]
    return Section("Long tail", figures, tables, findings)


def missing_types(by_type: Counter[tuple[str, str]]) -> list[Finding]:
    """Types that are tested but never trained on."""
    tested = {name for (name, split), count in by_type.items() if split == "test" and count}
    return [
        Finding("untrained_type", name, "in test but not in train")
        for name in sorted(tested)
        if not by_type[name, "train"]
    ]


def gini(counts: list[int]) -> float:
    """How unevenly counts are spread: 0 all equal, near 1 one has all; NaN without any."""
    if not counts:
        return float("nan")
    ordered = np.sort(np.asarray(counts, dtype=float))
    ranks = np.arange(1, len(ordered) + 1)
    return float(2 * (ranks * ordered).sum() / (len(ordered) * ordered.sum())) - (
        len(ordered) + 1
    ) / len(ordered)


def cross_table(
    title: str, label: str, counts: Counter[tuple[str, str]], columns: tuple[str, ...]
) -> Table:
    """Counts by row and column, the largest rows first, columns without any left out."""
    used = [column for column in columns if any(key[1] == column for key in counts)]
    totals: Counter[str] = Counter()
    for (name, _), count in counts.items():
        totals[name] += count
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (name, *(counts[name, column] for column in used), total)
        for name, total in sorted(totals.items(), key=lambda item: (-item[1], item[0]))
    )
    return Table(title, (label, *used, "all"), rows)
