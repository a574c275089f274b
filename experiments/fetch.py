"""`fetch`: a public data set from its official address -> its original layout, proven and unpacked.

    python -m experiments.fetch --source mvtec_ad --out RAW --accept_licence

What may not be fetched is told with where to get it; RAW is then the --root of prepare.
"""

import importlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from jsonargparse import ArgumentParser
from rich.console import Console
from rich.filesize import decimal
from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from datamodules.about import About, Download, source_class_path, source_names
from datamodules.about import about_of as facts_of
from datamodules.fetching.archives import extract
from datamodules.fetching.downloads import download
from datamodules.manifest import Source
from experiments.command import run_command
from experiments.configuration_errors import check_base
from experiments.prepare import check_writable

ARCHIVES_FOLDER = ".archives"
RECEIPT_NAME = "SOURCE.json"


def build_parser() -> ArgumentParser:
    """The command's arguments."""
    parser = ArgumentParser(
        prog="python -m experiments.fetch",
        exit_on_error=False,
        description="A public data set is loaded, verified and unpacked, or it is told why not.",
    )
    parser.add_argument("--source", type=str, default="", help="name of a source, or class path")
    parser.add_argument("--out", type=str, default="", help="folder for the original layout")
    parser.add_argument("--accept_licence", action="store_true", help="you accept what is shown")
    parser.add_argument(
        "--discard_archives", action="store_true", help="keep what is unpacked only"
    )
    parser.add_argument("--list", action="store_true", help="all sources with their licences")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Fetch one data set or list them all; ValueError and OSError with one line."""
    settings = build_parser().parse_args(argv)
    if settings.list:
        Console().print(source_table(known_sources()))
        return 0
    if not settings.source:
        raise ValueError("--source is missing: expected --source NAME --out RAW, or --list")
    name = source_class_path(settings.source)
    about = about_of(name)
    show(about)
    short = settings.source
    if not about.downloads:
        say(f"how to get it: {about.instructions}")
        raise ValueError(f"{short} is not fetched: it has no verified address; see how to get it")
    if not settings.accept_licence:
        raise ValueError(
            f"{short} is under {about.licence}: read {about.licence_url or about.homepage} and "
            "add --accept_licence to accept it"
        )
    if not settings.out:
        raise ValueError("--out is missing: expected the folder for the original layout")
    out = Path(settings.out)
    if is_fetched(about, out):
        say(f"already in {out}: nothing to do")
    else:
        fetch(short, about, out, keep_archives=not settings.discard_archives)
    say(f"next: python -m experiments.prepare --source {short} --root {out} --out DATA")
    return 0


def fetch(name: str, about: About, out: Path, *, keep_archives: bool = True) -> None:
    """Load, verify and unpack all of a set's archives into `out`, then write its receipt.

    Raises ValueError for what is in the way, changed or unsafe; OSError for network and disk.
    """
    check_writable(out)
    archives = out / ARCHIVES_FOLDER
    with _progress_bars() as bar_of:
        paths = [download(item, archives, progress=bar_of(item)) for item in about.downloads]
    moves: list[tuple[Path, Path]] = []
    counts: list[int] = []
    unpacked_folders = [path.with_name(f"{path.name}.unpacked") for path in paths]
    try:
        for item, path, unpacked in zip(about.downloads, paths, unpacked_folders, strict=True):
            say(f"unpacking {path.name}")
            shutil.rmtree(unpacked, ignore_errors=True)  # of a run that was killed here
            counts.append(extract(path, unpacked))
            target = out / item.extract_to
            moves += [(entry, target / entry.name) for entry in sorted(unpacked.iterdir())]
        place(moves, receipt=out / RECEIPT_NAME)
    finally:
        for unpacked in unpacked_folders:
            shutil.rmtree(unpacked, ignore_errors=True)
    write_receipt(name, about, out, counts=counts)
    if not keep_archives:
        for path in paths:
            path.unlink()
        with suppress(OSError):  # something else lies there
            archives.rmdir()
    say(f"{sum(counts)} files in {out}")


def place(moves: Sequence[tuple[Path, Path]], *, receipt: Path) -> None:
    """Rename each first path to its second, all of them or none.

    Raises ValueError where something is in the way already, or would be in the receipt's.
    """
    targets = [target for _, target in moves]
    blocked = [
        path for path in targets if path.exists() or path.name.lower() == receipt.name.lower()
    ]
    if blocked or len(set(targets)) < len(targets):
        raise ValueError(
            f"cannot unpack into {receipt.parent}: {(blocked or targets)[0].name} is in the way, "
            "and nothing is overwritten; move it away or choose another --out"
        )
    done: list[tuple[Path, Path]] = []
    try:
        for entry, target in moves:
            target.parent.mkdir(parents=True, exist_ok=True)
            entry.rename(target)
            done.append((entry, target))
    except BaseException:
        for entry, target in reversed(done):
            target.rename(entry)
        raise


def write_receipt(name: str, about: About, out: Path, *, counts: Sequence[int]) -> None:
    """OUT/SOURCE.json: what was fetched from where, when, and under which licence."""
    receipt = {
        "source": name,
        "title": about.title,
        "licence": about.licence,
        "licence_url": about.licence_url,
        "citation": about.citation,
        "homepage": about.homepage,
        "date": datetime.now(UTC).date().isoformat(),
        "downloads": [
            {**asdict(item), "files": count}
            for item, count in zip(about.downloads, counts, strict=True)
        ],
    }
    path = out / RECEIPT_NAME
    unfinished = path.with_name(f".{RECEIPT_NAME}.{os.getpid()}.tmp")
    unfinished.write_text(
        json.dumps(receipt, indent=2, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    os.replace(unfinished, path)


def is_fetched(about: About, out: Path) -> bool:
    """Whether the receipt in `out` tells of these very files; ValueError for one that does not."""
    path = out / RECEIPT_NAME
    if not path.is_file():
        return False
    try:
        receipt = json.loads(path.read_text(encoding="utf-8"))
        found = {row["sha256"] for row in receipt["downloads"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a receipt of fetch: move it away and run again") from error
    if found != {item.sha256 for item in about.downloads}:
        raise ValueError(
            f"{path} tells of other files than {about.title} has now: choose another --out"
        )
    return True


def about_of(class_path: str) -> About:
    """The About of the source; ValueError for what is no source or says nothing of itself."""
    check_base("source", {"class_path": class_path}, Source)
    module, _, name = class_path.rpartition(".")
    source: type[Source] = getattr(importlib.import_module(module), name)
    return source.about if isinstance(source.about, About) else facts_of(source.name)


def known_sources() -> dict[str, About]:
    """Every source of datamodules/sources by name."""
    return {name: about_of(source_class_path(name)) for name in source_names()}


def source_table(abouts: dict[str, About]) -> Table:
    """One row per source: title, licence, and whether fetch can load it."""
    table = Table(title="data sets")
    for column in ("source", "title", "licence", "fetch"):
        table.add_column(column, overflow="fold")
    for name, about in abouts.items():
        size_bytes = sum(item.size_bytes for item in about.downloads)
        size = f", {decimal(size_bytes)}" if size_bytes else ""
        table.add_row(
            name, about.title, about.licence, f"yes{size}" if about.downloads else "by hand"
        )
    return table


def show(about: About) -> None:
    """Title, licence, citation and homepage on standard output."""
    say(about.title)
    for label, text in (
        ("licence", " ".join(filter(None, (about.licence, about.licence_url)))),
        ("cite", about.citation),
        ("homepage", about.homepage),
    ):
        if text:
            say(f"{label:9} {text}")


def say(line: str) -> None:
    """One line on standard output, unwrapped, so that addresses can be copied."""
    Console().print(line, soft_wrap=True, highlight=False, markup=False)


@contextmanager
def _progress_bars() -> Iterator[Callable[[Download], Callable[[int, int], None]]]:
    """A maker of progress bars, one per download, shown on standard error."""
    columns = (*Progress.get_default_columns()[:2], DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:

        def bar_of(item: Download) -> Callable[[int, int], None]:
            task = bars.add_task(item.file_name, total=item.size_bytes or None)
            return lambda done, total: bars.update(task, completed=done, total=total or None)

        yield bar_of


if __name__ == "__main__":
    run_command(main)
