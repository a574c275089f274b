"""Alike images: copies, copies in different splits, copies that are labelled differently."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict

from datamodules.manifest import Manifest
from datamodules.preparing.duplicates import Duplicates, Pair, duplicate_groups
from datamodules.preparing.inspection import Progress, inspect_all
from datamodules.preparing.leakage import find_leaks
from datamodules.preparing.preparation import compare_images
from datamodules.sample import Record
from experiments.audits.findings import Finding, Section, counts_of
from experiments.tables import Table

HASHED = "sought by hashes: about one pair in twenty is missed"


def audit_images(
    manifest: Manifest, *, workers: int = 0, progress: Progress | None = None
) -> Section:
    """Copies among all images of a manifest, within and across splits and sources.

    Images that cannot be opened any more are findings too. Inspections are kept beside the
    manifest, so that a second audit is short.
    """
    records = [manifest[row] for row in range(len(manifest))]
    inspections = inspect_all(
        records, manifest.root, kept_in=manifest.path.parent, workers=workers, progress=progress
    )
    findings = [Finding("unusable", i.record.image, i.problem) for i in inspections if i.problem]
    usable = [inspection for inspection in inspections if not inspection.problem]
    found = compare_images(usable) if usable else Duplicates((), "exhaustive")
    seen = [inspection.record for inspection in usable]
    findings += pair_findings(seen, found.pairs)
    groups = Counter(duplicate_groups(found.pairs, len(seen)).tolist())
    figures = {
        "images": float(len(records)),
        "groups_of_alike_images": float(sum(count > 1 for count in groups.values())),
    }
    several = len({record.source for record in seen}) > 1
    tables = [across_sources(seen, found.pairs)] if several else []
    note = HASHED if found.search == "hashed" else ""
    return Section("Alike images", figures | counts_of(findings), tables, findings, note)


def pair_findings(records: Sequence[Record], pairs: Sequence[Pair]) -> Iterator[Finding]:
    """One finding for every pair, and more where it leaks or its labels disagree."""
    for pair in pairs:
        first, second = records[pair.first], records[pair.second]
        evidence = f"{pair.kind}, turn {pair.turn}, similarity {pair.similarity:.2f}"
        yield Finding(f"{pair.kind}_copy", first.image, evidence, second.image)
        if pair.kind == "exact" and labels_of(first) != labels_of(second):
            types = f"{types_of(first)} against {types_of(second)}"
            yield Finding("label_disagreement", first.image, types, second.image)
    for leak in find_leaks(records, pairs):
        evidence = f"{leak.splits[0]} and {leak.splits[1]}: {leak.kind}, {leak.similarity:.2f}"
        yield Finding("leak", leak.first, evidence, leak.second)


def labels_of(record: Record) -> tuple[object, ...]:
    """What is said of an image: its types and regions, and whether it has a mask file."""
    regions = sorted(str(asdict(region)) for region in record.regions)
    return sorted(record.defects), regions, bool(record.mask)


def types_of(record: Record) -> str:
    """The types of a record in words, with the number of its regions."""
    regions = f" ({len(record.regions)} regions)" if record.regions else ""
    return (", ".join(record.defects) or record.split or "good") + regions


def across_sources(records: Sequence[Record], pairs: Sequence[Pair]) -> Table:
    """How many images of a source have a copy in which source."""
    owners: dict[tuple[str, str], set[int]] = defaultdict(set)
    for pair in pairs:
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            owners[records[one].source, records[other].source].add(one)
    rows = tuple((*sources, len(images)) for sources, images in sorted(owners.items()))
    return Table("Images with a copy", ("of", "in", "images"), rows)
