"""Captions against labels: of a manifest, and of the release's tables without their images."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from datamodules.auditing.caption_audit import audit_caption
from datamodules.auditing.label_audit import (
    duplicate_captions,
    near_duplicate_labels,
    shifted_rows,
    with_several,
)
from datamodules.language.released_captions import ReleasedCaption, read_release
from datamodules.language.terminology import Terminology
from datamodules.manifest import Manifest
from datamodules.sample import UNLABELLED
from experiments.audits.findings import Finding, Section, counts_of
from experiments.tables import Table

# CLIP's.
TOKEN_LIMIT = 77
NOTE = "tokens are estimated by words and signs"


def count_tokens(text: str) -> int:
    """Words, digits and signs of a text with its two ends: near CLIP's count for plain English."""
    return len(re.findall(r"[A-Za-z]+|\d|[^\sA-Za-z\d]", text)) + 2


def audit_manifest_captions(manifest: Manifest, *, token_limit: int = TOKEN_LIMIT) -> Section:
    """Faults of built and released captions, their lengths, and names that are spelt twice."""
    findings: list[Finding] = []
    lengths: list[int] = []
    losing, released = 0, Counter[str]()
    for row in range(len(manifest)):
        record = manifest[row]
        lengths.append(count_tokens(record.caption.render()))
        if lengths[-1] > token_limit:
            losing += record.caption.fit(count_tokens, token_limit)[1]
        if caption := record.released_caption:
            released[caption] += 1
            defects = None if record.split == UNLABELLED else record.defects
            findings += flag_findings(record.image, caption, defects, record.caption.product)
    findings += label_findings(manifest.vocabulary.names[1:])
    figures = {
        "built_captions_over_the_limit": float(sum(one > token_limit for one in lengths)),
        "built_captions_that_lose_fields": float(losing),
        "longest_built_caption_tokens": float(max(lengths)),
        "released_captions": float(released.total()),
        "released_captions_that_repeat": float(sum(n for n in released.values() if n > 1)),
    }
    return Section("Captions", figures | counts_of(findings), [], findings, NOTE)


def audit_release(root: Path) -> Section:
    """Faults of the release's captions, per table, without its images.

    Raises FileNotFoundError or ValueError for a folder that is not the release's.
    """
    rows = read_release(root)
    by_table: dict[str, Counter[str]] = {}
    encodings: dict[str, str] = {}
    findings: list[Finding] = []
    for row in rows:
        defects = row.defects if row.defects or row.is_good else None
        flagged = flag_findings(place_of(row), row.caption, defects, row.product)
        by_table.setdefault(row.csv, Counter()).update(["rows", *(one.kind for one in flagged)])
        encodings[row.csv] = row.encoding
        findings += flagged
    findings += table_findings(rows)
    kinds = sorted({kind for counts in by_table.values() for kind in counts} - {"rows"})
    table = Table(
        "Flags per table",
        ("table", "rows", "encoding", *kinds),
        tuple(
            (name, counts["rows"], encodings[name], *(counts[kind] for kind in kinds))
            for name, counts in sorted(by_table.items())
        ),
    )
    figures = {"rows": float(len(rows)), "tables": float(len(by_table))} | counts_of(findings)
    return Section("Released captions", figures, [table], findings, NOTE)


def place_of(row: ReleasedCaption) -> str:
    """Where a row of the release stands."""
    return f"{row.csv} row {row.row}"


def flag_findings(
    where: str, caption: str, defects: Sequence[str] | None, product: str
) -> list[Finding]:
    """One finding per fault of a caption, which itself is the second thing to look at."""
    flags = audit_caption(
        caption,
        defects=defects,
        product=product,
        terms=Terminology.load(),
        count_tokens=count_tokens,
        token_limit=TOKEN_LIMIT,
    )
    return [Finding(flag.kind, where, flag.evidence, caption) for flag in flags]


def label_findings(labels: Iterable[str]) -> Iterator[Finding]:
    """Pairs of labels that are one label in two spellings."""
    for first, second in near_duplicate_labels(labels):
        yield Finding("near_duplicate_label", first, "spelt in two ways", second)


def table_findings(rows: list[ReleasedCaption]) -> Iterator[Finding]:
    """What only whole tables show: repeated captions, labels spelt twice, ids, shifted rows."""
    yield from label_findings(row.category for row in rows)
    for group in duplicate_captions([row.caption for row in rows]):
        evidence = f"{len(group)} rows, the second is {place_of(rows[group[1]])}"
        yield Finding("repeated_caption", place_of(rows[group[0]]), evidence)
    for label, names in with_several((row.label, row.category) for row in rows).items():
        yield Finding("id_with_two_strings", str(label), "; ".join(names))
    for name, labels in with_several((row.category, row.label) for row in rows).items():
        yield Finding("string_with_two_ids", name, "; ".join(map(str, labels)))
    for run in shifted_rows(rows):
        yield Finding(
            "shifted_rows", place_of(run[0]), f"one answer's items run on to row {run[-1].row}"
        )
