"""Files and folders that are written whole or not at all: the one way to replace something."""

import csv
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

UNFINISHED_SUFFIX = ".unfinished"


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A new path beside `path` to write a file or a folder to; at the end it takes the name.

    If the writing fails, nothing of it is left and what had the name before is untouched. Missing
    parent folders are made. A folder can only replace an empty one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = f"{os.getpid()}-{threading.get_ident()}"
    unfinished = path.with_name(f".{path.name}.{writer}{UNFINISHED_SUFFIX}")
    try:
        yield unfinished
        # A power cut after the renaming must not find an empty file under the new name.
        for path_within in [unfinished, *unfinished.rglob("*")]:
            if path_within.is_file():
                with path_within.open("rb") as file:
                    os.fsync(file.fileno())
        os.replace(unfinished, path)
    finally:
        if unfinished.is_dir():
            shutil.rmtree(unfinished, ignore_errors=True)
        else:
            unfinished.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a text (UTF-8) or bytes to the file `path`, whole or not at all."""
    with whole(path) as unfinished:
        unfinished.write_bytes(content.encode() if isinstance(content, str) else content)


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    """The CSV at `path`, whole or not at all."""
    with whole(path) as unfinished, unfinished.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path
