"""Captions against labels: of a manifest, and of the release's tables without their images."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from datamodules.auditing.caption_audit import Flag, audit_caption
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


@dataclass(frozen=True)
class TokenLimit:
    """How long a caption may be for a text encoder; `count` counts its tokens."""

    count: Callable[[str], int]
    limit: int = 77
    note: str = ""

    def audit(self, caption: str, defects: Iterable[str] | None, product: str) -> list[Flag]:
        """The faults of a released caption."""
        return audit_caption(
            caption,
            defects=None if defects is None else tuple(defects),
            product=product,
            terms=Terminology.load(),
            count_tokens=self.count,
            token_limit=self.limit,
        )


def estimate_tokens(text: str) -> int:
    """Words, digits and signs of a text with its two ends: near CLIP's count for plain English."""
    return len(WORD_OR_SIGN.findall(text)) + 2


def load_token_limit(tokenizer: str) -> TokenLimit:
    """The limit of a tokenizer by hub name or local folder, CLIP's by estimate for "".

    Raises ValueError where the tokenizer cannot be read.
    """
    if not tokenizer:
        note = "tokens are estimated by words and signs, give --tokenizer for exact counts"
        return TokenLimit(estimate_tokens, note=note)
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
    findings: list[Finding] = []
    lengths: list[int] = []
    losing, released = 0, Counter[str]()
    for row in range(len(manifest)):
        record = manifest[row]
        lengths.append(tokens.count(record.caption.render()))
        if lengths[-1] > tokens.limit:
            losing += record.caption.fit(tokens.count, tokens.limit)[1]
        if caption := record.released_caption:
            released[caption] += 1
            defects = None if record.split == UNLABELLED else record.defects
            flags = tokens.audit(caption, defects, record.caption.product)
            findings += flag_findings(record.image, caption, flags)
    findings += label_findings(manifest.vocabulary.names[1:])
    figures = {
        "built_captions_over_the_limit": float(sum(one > tokens.limit for one in lengths)),
        "built_captions_that_lose_fields": float(losing),
        "longest_built_caption_tokens": float(max(lengths)),
        "released_captions": float(released.total()),
        "released_captions_that_repeat": float(sum(n for n in released.values() if n > 1)),
    }
    return Section("Captions", figures | counts_of(findings), [], findings, tokens.note)


def audit_release(root: Path, tokens: TokenLimit) -> Section:
    """Faults of the release's captions, per table, without its images.

    Raises FileNotFoundError or ValueError for a folder that is not the release's.
    """
    rows = read_release(root)
    by_table: dict[str, Counter[str]] = {}
    encodings: dict[str, str] = {}
    findings: list[Finding] = []
    for row in rows:
        defects = row.defects if row.defects or row.is_good else None
        flags = tokens.audit(row.caption, defects, row.product)
        by_table.setdefault(row.csv, Counter()).update(["rows", *(flag.kind for flag in flags)])
        encodings[row.csv] = row.encoding
        findings += flag_findings(place_of(row), row.caption, flags)
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
    return Section("Released captions", figures, [table], findings, tokens.note)


def place_of(row: ReleasedCaption) -> str:
    """Where a row of the release stands."""
    return f"{row.csv} row {row.row}"


def flag_findings(where: str, caption: str, flags: Iterable[Flag]) -> list[Finding]:
    """One finding per flag; the caption itself is the second thing to look at."""
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
