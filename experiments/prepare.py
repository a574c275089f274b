"""`prepare`: a data set in its original layout -> a verified, split manifest.

    python -m experiments.prepare --source mtd --root RAW --out DATA

The pictures stay where they are, untouched. OUT gets manifest.parquet, manifest.quarantine.csv
(what was left out and why), dataset_card.md. A killed run goes on where it was;
a second run only opens what is new.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from datamodules.about import source_class_path
from datamodules.manifest import Manifest, Source
from datamodules.preparing.materialise import Changes, read_redactions
from datamodules.preparing.preparation import Preparation, prepare
from datamodules.splits import SPLITS
from experiments.command import run_command
from experiments.configuration import apply_override, parse_overrides
from experiments.configuration_errors import (
    check_base,
    check_keys,
    check_nodes,
    typed_error_line,
)
from experiments.dataset_card import write_card
from experiments.output_folder import check_writable

MANIFEST_NAME = "manifest.parquet"
# Option -> type, default, what --help says; the words of `preparing/preparation.py`.
OPTIONS: dict[str, tuple[type, object, str]] = {
    "train_fraction": (float, 0.6, "share of the images"),
    "val_fraction": (float, 0.15, "share of the images"),
    "test_fraction": (float, 0.25, "share of the images"),
    "split_seed": (int, 0, "another seed, another split"),
    "protocol": (str, "published", "published: keep a set's own split; groups: cut anew; thirds"),
    "copies": (str, "drop", "alike pictures across given splits: drop, exact, keep"),
    "max_alike_fraction": (float, 0.5, "more alike pictures than this share are an error"),
    "on_bad": (str, "quarantine", "unusable pictures: quarantine, error"),
    "max_bad_fraction": (float, 0.05, "more unusable pictures than this share are an error"),
    "strip_metadata": (bool, False, "copy the pictures without EXIF, XMP and comments"),
    "upright": (bool, False, "copy the pictures as EXIF turns them, with their annotation"),
    "redactions": (str, "", "CSV image,left,top,width,height: boxes painted over in copies"),
    "longest_side_px": (int, 0, "copy larger pictures shrunk to this side, 0 keeps them"),
    "tile_px": (int, 0, "index larger pictures as tiles of this side, 0 keeps them whole"),
    "tile_overlap_px": (int, 64, "least overlap of neighbouring tiles"),
    "workers": (int, 0, "processes that inspect, 0 for one per core"),
}
KEYS = ("source", "root", "out", *OPTIONS)


def main(argv: list[str] | None = None) -> int:
    """Write the manifest and print what is in it; after an error an older manifest stays."""
    settings = _parse(sys.argv[1:] if argv is None else argv)
    source: Source = settings.source
    path = Path(settings.out) / MANIFEST_NAME
    check_writable(path.parent)
    fractions = (settings.train_fraction, settings.val_fraction, settings.test_fraction)
    changes = Changes(
        longest_side_px=settings.longest_side_px,
        make_upright=settings.upright,
        strip=settings.strip_metadata,
        redactions=read_redactions(settings.redactions),
    )
    console = Console()
    with progress_bar(console) as progress:
        done = prepare(
            source,
            settings.root,
            path,
            fractions=fractions,
            split_seed=settings.split_seed,
            protocol=settings.protocol,
            copies=settings.copies,
            max_alike_fraction=settings.max_alike_fraction,
            on_bad=settings.on_bad,
            max_bad_fraction=settings.max_bad_fraction,
            changes=changes,
            tiling_px=(settings.tile_px, settings.tile_overlap_px),
            workers=settings.workers,
            progress=progress,
        )
    write_card(path.parent, done, about=source.about)
    report(console, done)
    return 0


def report(console: Console, done: Preparation) -> None:
    """Print what is in the manifest, what was left out, and where it lies."""
    manifest = done.manifest
    console.print(summary_table(manifest))
    lines = [f"note      {count} x {note}" for note, count in sorted(done.notes.items())]
    for title, left_out in (("refused", done.refused), ("copies", done.copies)):
        if left_out:
            first = left_out[0]
            lines.append(
                f"{title:<9} {len(left_out)}, the first is {first.image}: {first.reason}; "
                f"all in {manifest.path.with_suffix('.quarantine.csv').name}"
            )
    groups = len(set(manifest.column("group")))
    lines += [
        f"manifest  {manifest.path}",
        f"images    {len(manifest)} in {groups} groups, under {manifest.root}",
        f"leaks     {manifest.leaks} pairs of alike pictures in different splits",
        f"sha256    {manifest.sha256}",
        f"split     {manifest.split_sha256}",
    ]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A function (done, total) that draws a bar on a terminal and nothing elsewhere."""
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("inspecting", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def summary_table(manifest: Manifest) -> Table:
    """Images per type and split, with totals, types in vocabulary order."""
    types = manifest.types_of(np.arange(len(manifest)))
    all_splits = manifest.column("split")
    counts = Counter(zip(types, all_splits, strict=True))
    present = set(all_splits)
    splits = [split for split in SPLITS if split in present] + sorted(present - set(SPLITS))
    names = set(types)
    order = [name for name in manifest.vocabulary.names if name in names]
    table = Table(title=f"{manifest.source}: images per type and split")
    table.add_column("type")
    for split in [*splits, "all"]:
        table.add_column(split, justify="right")
    for name in order + sorted(names - set(order)):
        row = [counts[name, split] for split in splits]
        table.add_row(name, *map(str, row), str(sum(row)))
    totals = [sum(counts[name, split] for name in names) for split in splits]
    table.add_section()
    table.add_row("all", *map(str, totals), str(sum(totals)))
    members = Counter(
        split for split, _ in set(zip(all_splits, manifest.column("group"), strict=True))
    )
    groups = len(set(manifest.column("group")))
    table.add_row("groups", *(str(members[split]) for split in splits), str(groups))
    return table


def _parser() -> ArgumentParser:
    parser = ArgumentParser(
        prog="python -m experiments.prepare",
        exit_on_error=False,
        description="A data set in its original layout becomes a verified, split manifest.",
    )
    parser.add_subclass_arguments(
        Source, "source", required=True, help="name of a source (mtd), or its class path"
    )
    parser.add_argument("--root", type=str, required=True, help="folder of the original data")
    parser.add_argument("--out", type=str, required=True, help="folder for manifest.parquet")
    for name, (kind, default, words) in OPTIONS.items():
        parser.add_argument(f"--{name}", type=kind, default=default, help=words)
    return parser


def _parse(argv: Sequence[str]) -> Namespace:
    """The typed arguments with the source made; ValueError, one line, for what is wrong in them."""
    if any(word == "-h" or word.split("=")[0].endswith("help") for word in argv):
        _parser().parse_args(["--help"])
    pairs = parse_overrides(argv)
    raw: dict[str, object] = {}
    if "source" in pairs:
        apply_override(raw, "source.class_path", source_class_path(pairs.pop("source")))
    for key, text in pairs.items():
        # A folder called 2024 is a name; all other values are read as in a YAML file.
        apply_override(raw, key, text if key in ("root", "out") else _read_value(key, text))
    check_keys("", raw, KEYS, owner="prepare")
    for key in ("source", "root", "out"):
        if not raw.get(key):
            raise ValueError(f"--{key} is missing: expected --source NAME --root RAW --out DATA")
    check_base("source", raw["source"], Source)
    check_nodes("", raw)
    parser = _parser()
    try:
        settings = parser.parse_object(raw)
    except ArgumentError as error:
        raise ValueError(typed_error_line("", raw, str(error))) from error
    try:
        return parser.instantiate(settings)
    except ValueError as error:
        # jsonargparse wraps the source's own one line in a report of all types that it tried.
        raise ValueError(str(error.__cause__ or error)) from error


def _read_value(key: str, text: str) -> object:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"--{key}: got {text!r}, which is not a YAML value") from error


if __name__ == "__main__":
    run_command(main)
