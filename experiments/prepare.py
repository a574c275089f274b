"""`prepare`: a data set in its original layout -> a verified, split manifest.

    python -m experiments.prepare --source mtd --root RAW --out DATA

The pictures stay where they are, untouched; only OUT/manifest.parquet is written.
"""

import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import yaml
from jsonargparse import ArgumentError, ArgumentParser, Namespace
from rich.console import Console
from rich.table import Table

import datamodules.sources
from datamodules.imdd import prepare_records
from datamodules.manifest import Manifest, Source, verify, write_manifest
from datamodules.splits import SPLITS, type_of
from experiments.command import run_command
from experiments.configuration import apply_override, parse_overrides
from experiments.configuration_errors import (
    check_base,
    check_keys,
    check_nodes,
    nearest_names,
    typed_error_line,
)

MANIFEST_NAME = "manifest.parquet"
KEYS = ("source", "root", "out", "train_fraction", "val_fraction", "test_fraction", "split_seed")


def main(argv: list[str] | None = None) -> int:
    """Write the manifest and print what is in it; ValueError or OSError leave nothing behind."""
    settings = _parse(sys.argv[1:] if argv is None else argv)
    source: Source = settings.source
    path = Path(settings.out) / MANIFEST_NAME
    check_writable(path.parent)
    records = prepare_records(
        source,
        settings.root,
        train=settings.train_fraction,
        val=settings.val_fraction,
        test=settings.test_fraction,
        seed=settings.split_seed,
    )
    verify(records, settings.root)
    vocabulary = source.vocabulary(records)
    manifest = write_manifest(
        path, records, root=settings.root, vocabulary=vocabulary, source=source.name
    )
    console = Console()
    console.print(summary_table(manifest))
    for line in (
        f"manifest  {path}",
        f"images    {len(manifest)} in {len(set(manifest.groups))} groups, under {manifest.root}",
        f"sha256    {manifest.sha256}",
        f"split     {manifest.split_sha256}",
    ):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    return 0


def check_writable(folder: Path) -> None:
    """Nothing, where files can be made in `folder` or the folder itself can be made; else OSError.

    Asked before the long work, so that a full verification is not lost.
    """
    nearest = folder.absolute()
    while not nearest.exists():
        nearest = nearest.parent
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        reason = "is not a folder" if not nearest.is_dir() else "may not be written to"
        raise OSError(
            f"cannot write to {folder}: {nearest} {reason}; choose another folder with --out"
        )


def summary_table(manifest: Manifest) -> Table:
    """Images per type and split, with totals, types in vocabulary order."""
    records = [manifest[row] for row in range(len(manifest))]
    counts = Counter((type_of(record), record.split) for record in records)
    present = {record.split for record in records}
    splits = [split for split in SPLITS if split in present] + sorted(present - set(SPLITS))
    names = {type_of(record) for record in records}
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
    groups = [len({r.group for r in records if r.split == split}) for split in splits]
    table.add_row("groups", *map(str, groups), str(len({record.group for record in records})))
    return table


def expand_source(name: str) -> str:
    """The class path that a source's name means: "neu_seg" -> "datamodules.sources.neu_seg.NeuSeg".

    A dotted name is a class path already. ValueError with the known names for any other.
    """
    if "." in name:
        return name
    folder = Path(datamodules.sources.__path__[0])
    known = sorted(path.stem for path in folder.glob("*.py") if not path.stem.startswith("_"))
    if name not in known:
        raise ValueError(
            f"--source: got {name!r}, expected a file name of datamodules/sources or a class path; "
            + nearest_names(name, known)
        )
    camel_case = "".join(part.capitalize() for part in name.split("_"))
    return f"datamodules.sources.{name}.{camel_case}"


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
    parser.add_argument("--train_fraction", type=float, default=0.6, help="share of the images")
    parser.add_argument("--val_fraction", type=float, default=0.15, help="share of the images")
    parser.add_argument("--test_fraction", type=float, default=0.25, help="share of the images")
    parser.add_argument("--split_seed", type=int, default=0, help="another seed, another split")
    return parser


def _parse(argv: Sequence[str]) -> Namespace:
    """The typed arguments with the source made; ValueError, one line, for what is wrong in them."""
    if any(word == "-h" or word.split("=")[0].endswith("help") for word in argv):
        _parser().parse_args(["--help"])
    pairs = parse_overrides(argv)
    raw: dict[str, object] = {}
    if "source" in pairs:
        apply_override(raw, "source.class_path", expand_source(pairs.pop("source")))
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
