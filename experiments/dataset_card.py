"""The dataset card of a manifest: dataset_card.md, written by `prepare` beside it."""

from collections import Counter
from pathlib import Path

from datamodules.about import About
from datamodules.manifest import COLUMNS, VERSION, Manifest
from datamodules.preparing.preparation import Preparation
from datamodules.sample import GOOD, UNLABELLED
from datamodules.whole_files import write_whole
from experiments.tables import Table, to_markdown

CARD_NAME = "dataset_card.md"


def types_or_unlabelled(manifest: Manifest) -> list[tuple[str, ...]]:
    """All types that each image shows; nobody has said of an unlabelled one that it is good."""
    rows = zip(manifest.column("defects"), manifest.column("split"), strict=True)
    return [
        (UNLABELLED,) if split == UNLABELLED else tuple(names) or (GOOD,) for names, split in rows
    ]


def write_card(folder: Path, done: Preparation, *, about: About) -> None:
    """dataset_card.md in `folder`: what the data is, whose, what is in it and what was left out."""
    manifest = done.manifest
    types = types_or_unlabelled(manifest)
    lines = [
        f"# {about.title}",
        "",
        f"{len(manifest)} images in {len(set(manifest.column('group')))} groups, "
        f"{types.count((GOOD,))} of them without a defect.",
        "",
        f"- Licence: {about.licence} {about.licence_url}".rstrip(),
        f"- Cite: {about.citation}",
        f"- Origin: {about.homepage}",
        f"- Manifest: {manifest.path.name}, version {VERSION}, sha256 {manifest.sha256}",
        f"- Split: sha256 {manifest.split_sha256}, {manifest.leaks} pairs of alike images in "
        "different splits",
        f"- Left out: {len(done.unusable)} unusable, {len(done.copies)} copies of images in "
        "another split (quarantine.csv)",
        f"- Files: {done.leftovers.lines()[0]} (leftovers.csv says what and why)",
        f"- Generated: {manifest.generated_count} images by a model, which only train",
        *(f"- Note: {count} x {note}" for note, count in sorted(done.notes.items())),
        "",
    ]
    columns = {"type": [name for names in types for name in names]}
    columns |= {name: manifest.column(name) for name in ("split", "licence", "mask_kind")}
    for name, values in columns.items():
        title = "annotation" if name == "mask_kind" else name
        counts = sorted(Counter(values).items(), key=lambda item: (-item[1], item[0]))
        rows = tuple((value or "-", count) for value, count in counts)
        table = to_markdown(Table("", (title, "images"), rows))
        lines += [f"## Images per {title}", "", table, ""]
    holds = tuple((name, words) for name, (_, words) in COLUMNS.items())
    lines += ["## Columns of the manifest", "", to_markdown(Table("", ("column", "holds"), holds))]
    write_whole(folder / CARD_NAME, "\n".join(lines) + "\n")
