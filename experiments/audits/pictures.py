"""Alike pictures: copies, copies in different splits, copies that are labelled differently."""

from collections import Counter
from collections.abc import Sequence
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


def audit_pictures(
    manifest: Manifest, *, workers: int = 0, progress: Progress | None = None
) -> Section:
    """Copies among all pictures of a manifest, within and across splits and sources.

    Pictures that cannot be opened any more are findings too. Inspections are kept beside the
    manifest, so that a second audit is short.
    """
    records = [manifest[row] for row in range(len(manifest))]
    inspections = inspect_all(
        records, manifest.root, kept_in=manifest.path.parent, workers=workers, progress=progress
    )
    broken = [Finding("unusable", i.record.image, i.problem) for i in inspections if i.problem]
    usable = [inspection for inspection in inspections if not inspection.problem]
    found = compare_images(usable) if usable else Duplicates((), "exhaustive")
    seen = [inspection.record for inspection in usable]
    findings = [*broken, *pair_findings(seen, found.pairs)]
    labels = duplicate_groups(found.pairs, len(seen))
    groups = sum(count > 1 for count in Counter(labels.tolist()).values())
    figures = {"pictures": float(len(records)), "groups_of_alike_pictures": float(groups)}
    return Section(
        "Alike pictures",
        figures | counts_of(findings),
        [across_sources(seen, found.pairs)] if len({r.source for r in seen}) > 1 else [],
        findings,
        HASHED if found.search == "hashed" else "",
    )


def pair_findings(records: Sequence[Record], pairs: Sequence[Pair]) -> list[Finding]:
    """One finding for every pair, and more where it leaks or its labels disagree."""
    findings = []
    for pair in pairs:
        first, second = records[pair.first], records[pair.second]
        evidence = f"{pair.kind}, turn {pair.turn}, similarity {pair.similarity:.2f}"
        findings.append(Finding(f"{pair.kind}_copy", first.image, evidence, second.image))
        if pair.kind == "exact" and labels_of(first) != labels_of(second):
            types = f"{_types(first)} against {_types(second)}"
            findings.append(Finding("label_disagreement", first.image, types, second.image))
    for leak in find_leaks(records, pairs):
        evidence = f"{leak.splits[0]} and {leak.splits[1]}: {leak.kind}, {leak.similarity:.2f}"
        findings.append(Finding("leak", leak.first, evidence, leak.second))
    return findings


def labels_of(record: Record) -> tuple[object, ...]:
    """What is said of a picture: its types and regions; a mask file is told by its path alone."""
    regions = sorted(str(asdict(region)) for region in record.regions)
    return sorted(record.defects), regions, bool(record.mask)


def across_sources(records: Sequence[Record], pairs: Sequence[Pair]) -> Table:
    """How many pictures of a source have a copy in which source."""
    owners: dict[tuple[str, str], set[int]] = {}
    for pair in pairs:
        for one, other in ((pair.first, pair.second), (pair.second, pair.first)):
            names = records[one].source, records[other].source
            owners.setdefault(names, set()).add(one)
    rows = tuple((first, second, len(rows)) for (first, second), rows in sorted(owners.items()))
    return Table("Pictures with a copy", ("of", "in", "pictures"), rows)


def _types(record: Record) -> str:
    boxes = f" ({len(record.regions)} regions)" if record.regions else ""
    return (", ".join(record.defects) or record.split or "good") + boxes
