"""`prepare`: a data set in its original layout -> a verified, split manifest.

    python -m experiments.prepare --source mtd --root RAW --out DATA
    python -m experiments.prepare --source coco --root RAW --out DATA --source.product plate

The images stay where they are, untouched. OUT gets manifest.parquet, manifest.quarantine.csv
(what was left out and why) and dataset_card.md. A killed run goes on where it was; a second run
only opens what is new.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.progress import Progress
from rich.table import Table
from rich.text import Text

from experiments.cli import check_writable, nearest_names, run_command

if TYPE_CHECKING:
    from datamodules.manifest import Manifest, Source
    from datamodules.preparing.preparation import Preparation

MANIFEST_NAME = "manifest.parquet"


def prepare(
    *overrides: str,
    source: str,
    root: Path,
    out: Path,
    train_fraction: float = 0.6,
    val_fraction: float = 0.15,
    test_fraction: float = 0.25,
    split_seed: int = 0,
    protocol: Literal["published", "groups", "thirds"] = "published",
    copies: Literal["drop", "exact", "keep"] = "drop",
    max_alike_fraction: float = 0.5,
    on_bad: Literal["quarantine", "error"] = "quarantine",
    max_bad_fraction: float = 0.05,
    max_leftover_fraction: float = 0.05,
    strip_metadata: bool = False,
    upright: bool = False,
    redactions: str = "",
    longest_side_px: int = 0,
    tile_px: int = 0,
    tile_overlap_px: int = 64,
    workers: int = 0,
) -> None:
    """A data set in its original layout becomes a verified, split manifest.

    Settings of the source itself are given as --source.NAME VALUE; --source.help lists them.

    Args:
        source: name of a source (mtd, folder, coco, ...), or its class path
        root: folder of the original data
        out: folder for manifest.parquet
        train_fraction: share of the images
        val_fraction: share of the images
        test_fraction: share of the images
        split_seed: another seed, another split
        protocol: published: keep a set's own split; groups: cut anew; thirds: of each type the
            first third trains
        copies: what becomes of alike images across given splits
        max_alike_fraction: more alike images than this share are an error
        on_bad: what becomes of unusable images
        max_bad_fraction: more unusable images than this share are an error
        max_leftover_fraction: a larger share of images, or of label files, that the set does not
            name is an error
        strip_metadata: index copies without EXIF, XMP and comments
        upright: index copies that are stored as a viewer shows them, with their annotation
        redactions: CSV image,left,top,width,height: boxes, in pixels as a viewer shows the
            image, painted over in copies
        longest_side_px: index copies of larger images shrunk to this side, 0 keeps them
        tile_px: index larger images as tiles of this side, 0 keeps them whole
        tile_overlap_px: least overlap of neighbouring tiles
        workers: processes that inspect, 0 for one per core
    """
    if "--source.help" in overrides:
        from datamodules.about import source_class_path
        from experiments.run import print_class_help

        return print_class_help({"source": {"class_path": source_class_path(source)}}, "source")
    check_writable(out)
    built = build_source(source, overrides)
    from datamodules.preparing import preparation
    from datamodules.preparing.copies import Changes, read_redactions
    from experiments.dataset_card import write_card

    changes = Changes(
        longest_side_px=longest_side_px,
        make_upright=upright,
        strip=strip_metadata,
        redactions=read_redactions(redactions),
    )
    console = Console()
    with progress_bar(console) as progress:
        done = preparation.prepare(
            built,
            root,
            out / MANIFEST_NAME,
            fractions=(train_fraction, val_fraction, test_fraction),
            split_seed=split_seed,
            protocol=protocol,
            copies=copies,
            max_alike_fraction=max_alike_fraction,
            max_bad_fraction=0 if on_bad == "error" else max_bad_fraction,
            max_leftover_fraction=max_leftover_fraction,
            changes=changes,
            tiling_px=(tile_px, tile_overlap_px),
            workers=workers,
            progress=progress,
        )
    write_card(out, done, about=built.about)
    report(console, done)


def build_source(name: str, overrides: Sequence[str]) -> "Source":
    """The source of that name with its settings; ValueError, one line, for what is wrong in them.

    overrides: words such as --source.product plate, read by the type of the setting.
    """
    from datamodules.about import source_class_path

    node: dict[str, object] = {"source": {"class_path": source_class_path(name)}}
    from jsonargparse import ArgumentParser

    from datamodules.manifest import Source
    from experiments import config
    from experiments.typed_words import read_value

    for key, text in config.parse_overrides(overrides).items():
        if not key.startswith("source."):
            known = [*list(signature(prepare).parameters)[1:], "source.NAME"]
            raise ValueError(f"--{key}: expected an option; {nearest_names(key, known)}")
        setting = config.full_key(key).removeprefix("data.init_args.")
        config.set_dotted(node, setting, read_value(text))
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Source, "source", required=True)
    built: Source = config.build_objects(parser, config.parse_typed(parser, node)).source
    return built


@contextmanager
def progress_bar(console: Console) -> Iterator[Callable[[int, int], None]]:
    """A function (done, total) that draws a bar on a terminal and nothing elsewhere."""
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("inspecting", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def report(console: Console, done: "Preparation") -> None:
    """Print what is in the manifest, what was left out, and where it lies."""
    from datamodules.splits import TypeDivision

    manifest = done.manifest
    console.print(summary_table(manifest))
    lines = [f"note      {count} x {note}" for note, count in sorted(done.notes.items())]
    for title, left_out in (("refused", done.unusable), ("copies", done.copies)):
        if left_out:
            first = left_out[0]
            lines.append(
                f"{title:<9} {len(left_out)}, the first is {first.image}: {first.reason}; "
                f"all in {manifest.path.with_suffix('.quarantine.csv').name}"
            )
    try:
        TypeDivision(manifest, (), "all").check_types()
    except ValueError as error:
        lines.append(f"note      no stage 2 trains on this: {error}")
    groups = len(set(manifest.column("group")))
    total, *reasons = done.leftovers.lines()
    list_name = manifest.path.with_suffix(".leftovers.csv").name
    lines.append(f"files     {total}{(reasons and f', named in {list_name}') or ''}")
    lines += [f"          {reason}" for reason in reasons]
    lines += [
        f"manifest  {manifest.path}",
        f"images    {len(manifest)} in {groups} groups, under {manifest.root}",
        f"leaks     {manifest.leaks} pairs of alike images in different splits",
        f"sha256    {manifest.sha256}",
        f"split     {manifest.split_sha256}",
    ]
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def summary_table(manifest: "Manifest") -> Table:
    """Images per type and split, with totals and groups, types in vocabulary order.

    An image of several types is in the row of each, and once in the totals.
    """
    from datamodules.splits import SPLITS
    from experiments.dataset_card import types_or_unlabelled

    all_splits, groups = manifest.column("split"), manifest.column("group")
    shown = zip(types_or_unlabelled(manifest), all_splits, strict=True)
    counts = Counter((name, split) for names, split in shown for name in names)
    types = {name for name, _ in counts}
    present = set(all_splits)
    splits = [split for split in (*SPLITS, *sorted(present - {*SPLITS})) if split in present]
    order = [name for name in manifest.vocabulary.names if name in types]
    table = Table(title=f"{manifest.source}: images per type and split")
    table.add_column("type")
    for split in [*splits, "all"]:
        table.add_column(split, justify="right")
    for name in order + sorted(types - {*order}):
        row = [counts[name, split] for split in splits]
        table.add_row(Text(name), *map(str, row), str(sum(row)))
    totals = Counter(all_splits)
    table.add_section()
    table.add_row("all", *(str(totals[split]) for split in splits), str(len(manifest)))
    members = Counter(split for split, _ in set(zip(all_splits, groups, strict=True)))
    table.add_row("groups", *(str(members[split]) for split in splits), str(len(set(groups))))
    return table


if __name__ == "__main__":
    run_command(prepare)
