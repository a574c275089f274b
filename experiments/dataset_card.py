"""The dataset card of a manifest: dataset_card.md, written by `prepare` beside it."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from datamodules.about import About
from datamodules.manifest import COLUMNS, VERSION
from datamodules.preparing.preparation import Preparation
from datamodules.sample import GOOD
from datamodules.whole_files import write_whole
from experiments.tables import Table, to_markdown

CARD_NAME = "dataset_card.md"


def write_card(folder: Path, done: Preparation, *, about: About) -> None:
    """dataset_card.md now in `folder`, an older one replaced."""
    write_whole(folder / CARD_NAME, card_text(done, about))


def card_text(done: Preparation, about: About) -> str:
    """The card in Markdown: what the data is, whose it is, what is in it and what was left out."""
    manifest = done.manifest
    rows = np.arange(len(manifest))
    types = manifest.types_of(rows)
    lines = [
        f"# {about.title}",
        "",
        f"{len(manifest)} images in {len(set(manifest.column('group')))} groups, "
        f"{sum(name == GOOD for name in types)} of them without a defect.",
        "",
        f"- Licence: {about.licence} {about.licence_url}".rstrip(),
        f"- Cite: {about.citation}",
        f"- Origin: {about.homepage}",
        f"- Manifest: {manifest.path.name}, version {VERSION}, sha256 {manifest.sha256}",
        f"- Split: sha256 {manifest.split_sha256}, {manifest.leaks} pairs of alike images in "
        "different splits",
        f"- Left out: {len(done.unusable)} unusable, {len(done.copies)} copies of images in "
        "another split (quarantine.csv)",
        f"- Generated: {manifest.generated_count} images by a model, which only train",
        *(f"- Note: {count} x {note}" for note, count in sorted(done.notes.items())),
        "",
    ]
    tables = [
        _counts("type", dict(Counter(types))),
        _counts("split", dict(Counter(manifest.column("split")))),
        _counts("licence", dict(Counter(manifest.column("licence")))),
        _counts("annotation", dict(Counter(manifest.column("mask_kind")))),
    ]
    for table in tables:
        lines += [f"## Images per {table.columns[0]}", "", to_markdown(table), ""]
    holds = tuple((name, words) for name, (_, words) in COLUMNS.items())
    lines += ["## Columns of the manifest", "", to_markdown(Table("", ("column", "holds"), holds))]
    return "\n".join(lines) + "\n"


def _counts(title: str, counts: Mapping[str, int]) -> Table:
    rows = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return Table("", (title, "images"), tuple((name or "-", count) for name, count in rows))
