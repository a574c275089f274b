"""A command's folder of results, which appears whole or not at all."""

import os
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from datamodules.whole_files import whole


@contextmanager
def whole_folder(folder: Path, *, entries: Collection[str], overwrite: bool) -> Iterator[Path]:
    """An empty folder beside `folder` to write into; renamed to it at the end, removed on errors.

    entries: the names that a finished folder holds; with `overwrite` a folder with nothing but
    these is replaced. Raises ValueError where `folder` is in the way or cannot be written.
    """
    folder = folder.resolve()
    check_is_free(folder, entries=entries, overwrite=overwrite)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"output {folder} cannot be written ({error.strerror}): choose another --out"
        ) from error
    with whole(folder) as unfinished:
        unfinished.mkdir()
        yield unfinished
        if folder.exists():
            shutil.rmtree(folder)


def check_is_free(folder: Path, *, entries: Collection[str], overwrite: bool) -> None:
    """ValueError unless `folder` is missing, empty, or ours to overwrite."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"output {folder} is a file: expected a folder; choose another --out")
    found = {path.name for path in folder.iterdir()}
    if found and not overwrite:
        raise ValueError(f"output {folder} is not empty: choose another --out or give --overwrite")
    foreign = sorted(found - set(entries))
    if foreign:
        raise ValueError(
            f"output {folder} holds {foreign[0]!r}, which this command doesn't write: "
            "choose another --out, it is not overwritten"
        )


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
