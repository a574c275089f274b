"""Captions against labels: of a manifest, and of the release's tables without their pictures."""

import re
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from datamodules.auditing.caption_audit import FLAG_KINDS, Flag, audit_caption
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

WORD_OR_SIGN = re.compile(r"[A-Za-z]+|\d|[^\sA-Za-z\d]")
ESTIMATE = "tokens are estimated by words and signs, give --tokenizer for exact counts"


@dataclass(frozen=True)
class TokenLimit:
    """How long a caption may be for a text encoder; `count` counts its tokens."""

    count: Callable[[str], int]
    limit: int = 77
    is_estimate: bool = False


def estimate_tokens(text: str) -> int:
    """Words, digits and signs of a text with its two ends: near CLIP's count for plain English."""
    return len(WORD_OR_SIGN.findall(text)) + 2


def load_token_limit(tokenizer: str) -> TokenLimit:
    """The limit of a tokenizer by hub name or local folder, CLIP's by estimate for "".

    Raises ValueError where the tokenizer cannot be read.
    """
    if not tokenizer:
        return TokenLimit(estimate_tokens, is_estimate=True)
    from transformers import AutoTokenizer

    try:
        loaded = AutoTokenizer.from_pretrained(tokenizer)
    except (OSError, ValueError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(
            f"tokenizer {tokenizer!r} cannot be read ({reason}): expected a hub name or a local "
            "folder with its files"
        ) from error
    limit = loaded.model_max_length if loaded.model_max_length < 10_000 else 77
    return TokenLimit(lambda text: len(loaded(text, verbose=False).input_ids), limit)


def audit_manifest_captions(manifest: Manifest, tokens: TokenLimit) -> Section:
    """Faults of built and released captions, their lengths, and names that are spelt twice."""
    terms = Terminology.load()
    findings: list[Finding] = []
    longest, too_long, fits_after, released = 0, 0, 0, Counter[str]()
    for row in range(len(manifest)):
        record = manifest[row]
        built = record.caption.render()
        length = tokens.count(built)
        longest = max(longest, length)
        if length > tokens.limit:
            too_long += 1
            fits_after += record.caption.fit(tokens.count, tokens.limit)[1]
        if record.released_caption:
            released[record.released_caption] += 1
            flags = audit_caption(
                record.released_caption,
                defects=None if record.split == UNLABELLED else record.defects,
                product=record.caption.product,
                terms=terms,
                count_tokens=tokens.count,
                token_limit=tokens.limit,
            )
            findings += flag_findings(record.image, record.released_caption, flags)
    findings += label_findings(manifest.vocabulary.names[1:])
    figures = {
        "built_captions_over_the_limit": float(too_long),
        "built_captions_that_lose_fields": float(fits_after),
        "longest_built_caption_tokens": float(longest),
        "released_captions": float(released.total()),
        "released_captions_that_repeat": float(sum(n for n in released.values() if n > 1)),
    }
    note = ESTIMATE if tokens.is_estimate else ""
    return Section("Captions", figures | counts_of(findings), [], findings, note)


def audit_release(root: Path, tokens: TokenLimit) -> Section:
    """Faults of the release's captions, per table, without its pictures.

    Raises FileNotFoundError or ValueError for a folder that is not the release's.
    """
    terms = Terminology.load()
    rows = read_release(root)
    by_table: dict[str, Counter[str]] = {}
    findings: list[Finding] = []
    for row in rows:
        flags = audit_caption(
            row.caption,
            defects=row.defects if row.defects or row.is_good else None,
            product=row.product,
            terms=terms,
            count_tokens=tokens.count,
            token_limit=tokens.limit,
        )
        counts = by_table.setdefault(row.csv, Counter())
        counts.update(["rows", f"encoding {row.encoding}", *(flag.kind for flag in flags)])
        findings += flag_findings(f"{row.csv} row {row.row}", row.caption, flags)
    findings += table_findings(rows)
    kinds = [kind for kind in FLAG_KINDS if any(counts[kind] for counts in by_table.values())]
    table = Table(
        "Flags per table",
        ("table", "rows", "encoding", *kinds),
        tuple(
            (name, counts["rows"], encodings_of(counts), *(counts[kind] for kind in kinds))
            for name, counts in sorted(by_table.items())
        ),
    )
    figures = {"rows": float(len(rows)), "tables": float(len(by_table))} | counts_of(findings)
    note = ESTIMATE if tokens.is_estimate else ""
    return Section("Released captions", figures, [table], findings, note)


def flag_findings(where: str, caption: str, flags: Iterable[Flag]) -> list[Finding]:
    """One finding per flag; the caption itself is the second thing to look at."""
    return [Finding(flag.kind, where, flag.evidence, caption) for flag in flags]


def label_findings(labels: Iterable[str]) -> list[Finding]:
    """Pairs of labels that are one label in two spellings."""
    pairs = near_duplicate_labels(labels)
    return [Finding("near_duplicate_label", first, "spelt in two ways", s) for first, s in pairs]


def table_findings(rows: list[ReleasedCaption]) -> list[Finding]:
    """What only whole tables show: repeated captions, labels spelt twice, ids, shifted rows."""
    place = [f"{row.csv} row {row.row}" for row in rows]
    findings = label_findings(row.category for row in rows)
    for group in duplicate_captions([row.caption for row in rows]):
        evidence = f"{len(group)} rows, the second is {place[group[1]]}"
        findings.append(Finding("repeated_caption", place[group[0]], evidence))
    for label, names in with_several((row.label, row.category) for row in rows).items():
        findings.append(Finding("id_with_two_strings", str(label), "; ".join(names)))
    for name, labels in with_several((row.category, row.label) for row in rows).items():
        findings.append(Finding("string_with_two_ids", name, "; ".join(map(str, labels))))
    for run in shifted_rows(rows):
        evidence = f"one answer's items run on to row {run[-1].row}"
        findings.append(Finding("shifted_rows", f"{run[0].csv} row {run[0].row}", evidence))
    return findings


def encodings_of(counts: Counter[str]) -> str:
    """The encodings that a table was read with."""
    names = [name.removeprefix("encoding ") for name in counts if name.startswith("encoding ")]
    return ", ".join(sorted(names))
