"""Checkpoint files on the disk: written whole and read back, or not there at all.

When one is written is in `safe_checkpoint.py`. Each file has a `<name>.sha256` beside it that
`sha256sum -c` reads; `last.ckpt` is one more name of the newest file.
"""

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import IO, cast

import torch

STEP_NAME = re.compile(r"step_(\d{8,})\.ckpt")
LAST_NAME = "last.ckpt"
HASH_SUFFIX = ".sha256"
UNFINISHED_SUFFIX = ".unfinished"
CHUNK_BYTES = 1 << 22


class HashedFile:
    """A file for writing that hashes what goes through it.

    A failed write is kept in `error` and raised by `close`: torch would turn it into an error of
    its own, or end the process, on the way through its C++.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")
        self._hash = hashlib.sha256()
        self.error: OSError | None = None

    def write(self, chunk: bytes) -> int:
        """Write the chunk, unless a write has failed before."""
        if self.error is None:
            try:
                self._file.write(chunk)
                self._hash.update(chunk)
            except OSError as error:
                self.error = error
        return len(chunk)

    def flush(self) -> None:
        """Nothing: `close` flushes."""

    def close(self) -> str:
        """The sha256 of what is safely on the disk now; OSError where it could not get there."""
        try:
            if self.error is not None:
                raise self.error
            self._file.flush()
            os.fsync(self._file.fileno())
        finally:
            # What a full disk has left in the buffer fails once more when the file closes.
            try:
                self._file.close()
            except OSError as error:
                self.error = self.error or error
        if self.error is not None:
            raise self.error
        return self._hash.hexdigest()


def step_path(folder: Path, step: int) -> Path:
    """The checkpoint file of a step."""
    return folder / f"step_{step:08d}.ckpt"


def step_of(path: Path) -> int:
    """The step in a checkpoint's name; -1 where it names none."""
    match = STEP_NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def write_checkpoint(content: Mapping[str, object], path: Path) -> str:
    """Write `content` to `path` and beside it its hash, which is the answer; or change nothing.

    Raises OSError where the disk refuses, or gives back something else than was written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}{UNFINISHED_SUFFIX}")
    try:
        file = HashedFile(unfinished)
        try:
            torch.save(dict(content), cast(IO[bytes], file))
        finally:
            digest = file.close()
        if file_sha256(unfinished) != digest:
            raise OSError(errno.EIO, "the disk gives back other bytes than were written", str(path))
        put_in_place(unfinished, path, digest)
    except OSError:
        remove_unfinished(path.parent)
        raise
    return digest


def put_in_place(unfinished: Path, path: Path, digest: str) -> None:
    """Give a finished file its name, and the hash beside it that `sha256sum -c` reads.

    Between the two there is no hash, never that of another file: a reader then goes by the
    checksums inside the archive.
    """
    beside = path.with_name(path.name + HASH_SUFFIX)
    beside.unlink(missing_ok=True)
    os.replace(unfinished, path)
    unfinished_hash = beside.with_name(f".{beside.name}{UNFINISHED_SUFFIX}")
    with unfinished_hash.open("w", encoding="ascii") as file:
        file.write(f"{digest}  {path.name}\n")
        file.flush()
        os.fsync(file.fileno())
    os.replace(unfinished_hash, beside)
    sync_folder(path.parent)


def publish_last(path: Path, digest: str) -> None:
    """Make `last.ckpt` one more name of the checkpoint, or a copy where the disk has no links."""
    last = path.with_name(LAST_NAME)
    unfinished = last.with_name(f".{LAST_NAME}{UNFINISHED_SUFFIX}")
    unfinished.unlink(missing_ok=True)
    try:
        os.link(path, unfinished)
    except OSError:
        shutil.copyfile(path, unfinished)
    put_in_place(unfinished, last, digest)


def remove_older(folder: Path, step: int, keep: int) -> None:
    """Remove checkpoints of steps up to `step`, all but the newest `keep`.

    One of a later step is of an earlier life of the run and could not be read: it does not count.
    """
    known = sorted(path for path in folder.glob("step_*.ckpt") if 0 <= step_of(path) <= step)
    for path in known[:-keep]:
        path.unlink(missing_ok=True)
        path.with_name(path.name + HASH_SUFFIX).unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what a killed process was writing."""
    for path in folder.glob(f".*{UNFINISHED_SUFFIX}"):
        path.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """The sha256 of a file, read from the disk itself where the system can drop its copy."""
    digest = hashlib.sha256()
    with path.open("rb", buffering=0) as file:
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def sync_folder(folder: Path) -> None:
    """Make renames in the folder outlive a power cut, where its file system can."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
