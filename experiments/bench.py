"""`python -m experiments.bench data`: our speed and memory beside a reference's, as ratios."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from experiments.cli import nearest_names, run_command

if TYPE_CHECKING:
    from experiments.benchmarks.measurement import Measurement

NOTE = "CPU time of one process with one thread, else said so; the machine was shared"
PACKAGES = ("torch", "torchvision", "numpy", "pillow", "diffusers", "torchmetrics")


def bench(
    verb: Literal["data", "stage1", "inference", "metrics", "student"],
    /,
    *,
    part: str = "",
    images: Path | None = None,
    image_size_px: int = 512,
    repeats: int = 7,
    checkpoint: Path | None = None,
    out: Path | None = None,
) -> None:
    """Measure our speed, work and memory beside a reference in the same run; print the ratios.

    A ratio above 1 is for us; the limit beside it is what is thought possible.

    Args:
        verb: what to measure
        part: one part of it alone, for example work
        images: a folder of images, else some are rendered
        image_size_px: side of the training crop
        repeats: turns; the median counts
        checkpoint: with student: a trained one, beside its teacher (default: random weights)
        out: also write the rows to this JSON file
    """
    from importlib import import_module

    from experiments.benchmarks.measurement import BenchSettings

    settings = BenchSettings(images, image_size_px, repeats, checkpoint)
    if out and not out.absolute().parent.is_dir():
        raise ValueError(f"--out: the folder of {out} is missing: make it or choose another")
    parts = import_module(f"experiments.benchmarks.{verb}").PARTS
    if part and part not in parts:
        raise ValueError(f"--part: bench {verb} has no {part!r}; {nearest_names(part, parts)}")
    rows: list[Measurement] = []
    for measure in [parts[part]] if part else parts.values():
        rows += measure(settings)
        if out:
            # After each, so that what took minutes outlives an interruption of what follows.
            write_rows(out, verb, rows)
    show(verb, rows)


def show(verb: str, rows: Sequence["Measurement"]) -> None:
    """Print the rows as a table, settings in words."""
    from experiments.tables import Table, format_cell, print_table

    columns = ("measured", "ours", "reference", "unit", "ratio", "limit", "settings")
    cells = [
        (
            *(row.name, row.ours, row.reference, row.unit, row.ratio, row.limit),
            ", ".join(f"{name} {format_cell(value)}" for name, value in row.settings.items()),
        )
        for row in rows
    ]
    print_table(Table(f"bench {verb}: ratio above 1 is for us", columns, tuple(cells)))
    print(NOTE)


def write_rows(path: Path, verb: str, rows: Sequence["Measurement"]) -> None:
    """The rows with versions and the note as JSON, whole or not at all."""
    import json
    import os
    import platform
    from dataclasses import asdict
    from importlib.metadata import version

    from datamodules.whole_files import write_whole

    content = {
        "verb": verb,
        "note": NOTE,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in PACKAGES},
        "measurements": [asdict(row) for row in rows],
    }
    write_whole(path, json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    run_command(bench)
