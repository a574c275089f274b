"""`python -m experiments.bench data`: our speed and memory beside a reference's, as ratios.

Every file of `benchmarks/` is one benchmark: it says in `VERB` to which word it belongs, and its
`measure(settings)` gives the rows. A new file is found without an edit here. The name of a file in
place of the word runs that one alone.
"""

import importlib
import json
import os
import pkgutil
import platform
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from types import ModuleType

from jsonargparse import ArgumentParser
from rich.console import Console

import experiments.benchmarks
from experiments.command import run_command
from experiments.configuration_errors import nearest_names
from experiments.measuring.measurements import NOTE, BenchSettings, Measurement, to_table
from experiments.tables import to_rich

PACKAGES = (
    "opencv-python-headless",
    "pillow",
    "torch",
    "torchvision",
    "albumentations",
    "numpy",
    "diffusers",
    "transformers",
    "lightning",
)


def build_parser() -> ArgumentParser:
    """The command's arguments."""
    parser = ArgumentParser(prog="python -m experiments.bench", description=__doc__)
    parser.add_argument("verb", type=str, help=f"what to measure: {', '.join(verbs())}")
    parser.add_argument("--images", type=str, default="", help="pictures, else some are rendered")
    parser.add_argument("--image_size_px", type=int, default=512, help="side of the training crop")
    parser.add_argument("--repeats", type=int, default=7, help="turns; the median counts")
    parser.add_argument("--out", type=str, default="", help="also write the rows to this JSON file")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print the table and write the JSON; ValueError or OSError for what a user can cause."""
    arguments = build_parser().parse_args(argv)
    settings = BenchSettings(
        images=Path(arguments.images) if arguments.images else None,
        image_size_px=arguments.image_size_px,
        repeats=arguments.repeats,
    )
    out = Path(arguments.out) if arguments.out else None
    if out and not out.absolute().parent.is_dir():
        raise ValueError(f"--out: the folder of {out} is missing: make it or choose another")
    rows: list[Measurement] = []
    for room in rooms(arguments.verb):
        rows += room.measure(settings)
        if out:
            # After each, so that what took minutes outlives an interruption of what follows.
            write_rows(out, arguments.verb, rows)
    console = Console()
    console.print(to_rich(to_table(f"bench {arguments.verb}: ratio above 1 is for us", rows)))
    console.print(NOTE, highlight=False)
    return 0


def verbs() -> list[str]:
    """The words that the benchmarks belong to."""
    return sorted({room.VERB for room in _all_rooms()})


def rooms(verb: str) -> list[ModuleType]:
    """The benchmarks of the word, by name, or the one of that name; ValueError where none is."""
    named = {room.__name__.rpartition(".")[2]: room for room in _all_rooms()}
    found = [room for name, room in named.items() if verb in (room.VERB, name)]
    if not found:
        raise ValueError(f"bench has no {verb!r}; {nearest_names(verb, [*verbs(), *named])}")
    return found


def write_rows(path: Path, verb: str, rows: Sequence[Measurement]) -> None:
    """The rows with versions and the note as JSON, whole or not at all."""
    content = {
        "verb": verb,
        "note": NOTE,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "versions": {name: version(name) for name in PACKAGES},
        "measurements": [asdict(row) for row in rows],
    }
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        unfinished.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _all_rooms() -> list[ModuleType]:
    """The benchmarks' modules by name."""
    folder = experiments.benchmarks
    names = sorted(module.name for module in pkgutil.iter_modules(folder.__path__))
    return [importlib.import_module(f"{folder.__name__}.{name}") for name in names]


if __name__ == "__main__":
    run_command(main)
