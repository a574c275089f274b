"""The members of a zip or tar archive one by one, each named for what it is; nothing is judged.

Which of them may be written, and where, is `archives.py`.
"""

import stat
import struct
import tarfile
import zipfile
import zlib
from bz2 import BZ2File
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from gzip import GzipFile
from io import RawIOBase
from lzma import LZMAError, LZMAFile
from pathlib import Path
from typing import IO

# tarfile reads a member's extended header in one go, of any size that the archive claims.
LARGEST_READ_BYTES = 8 * 2**20
# Past its end a tar is padded with zeros to a whole record, a few kilobytes as a rule.
LARGEST_PADDING_BYTES = 2**20
TAR_BLOCK_BYTES = 512
ZIP_COMPRESSIONS = (
    zipfile.ZIP_STORED,
    zipfile.ZIP_DEFLATED,
    zipfile.ZIP_BZIP2,
    zipfile.ZIP_LZMA,
)
ZIP_ENCRYPTED_BITS = 0x1 | 0x40 | 0x2000
# What the standard library raises for damaged archives.
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    LZMAError,
    EOFError,
    struct.error,
    OverflowError,
    RuntimeError,
    ValueError,
)


Stream = IO[bytes] | GzipFile | BZ2File | LZMAFile


class UnsafeArchiveError(ValueError):
    """An archive that is not unpacked, with the reason in one line."""


@dataclass(frozen=True, slots=True)
class Member:
    """One member: its name as stored, "file", "folder" or what else it is, how it is opened."""

    name: str
    kind: str
    size_bytes: int
    open: Callable[[], IO[bytes] | None]


@contextmanager
def opened_archive(archive: Path) -> Iterator[Iterable[Member]]:
    """The members of the archive, to be used while it is open; the first bytes tell its kind.

    Raises FileNotFoundError where it is missing, one of DAMAGE where it cannot be read.
    """
    if not archive.is_file():
        raise FileNotFoundError(f"archive {archive} is missing: load it again")
    with archive.open("rb") as file:
        start = file.read(6)
        file.seek(0)
        if start.startswith((b"PK\x03\x04", b"PK\x05\x06")):
            with zipfile.ZipFile(file) as opened:
                yield _zip_entries(opened)
            return
        guarded = _SmallReads(_decompressed(file, start))
        with tarfile.TarFile(fileobj=guarded) as unpacked:  # type: ignore[arg-type]
            yield _tar_entries(unpacked, guarded)


def _decompressed(file: IO[bytes], start: bytes) -> Stream:
    if start.startswith(b"\x1f\x8b"):
        return GzipFile(fileobj=file)
    if start.startswith(b"BZh"):
        return BZ2File(file)
    return LZMAFile(file) if start.startswith(b"\xfd7zXZ\x00") else file


def _zip_entries(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        kind = "folder" if info.is_dir() else "file"
        mode = stat.S_IFMT(info.external_attr >> 16)
        if mode not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
            kind = "a link" if mode == stat.S_IFLNK else "a special file"
        elif info.flag_bits & ZIP_ENCRYPTED_BITS:
            kind = "encrypted"
        elif info.compress_type not in ZIP_COMPRESSIONS:
            kind = "compressed in an unknown way"
        elif info.is_dir() and info.file_size:
            kind = "a folder with content"
        # The name as stored: zipfile cuts its own copy at a zero byte.
        yield Member(info.orig_filename, kind, info.file_size, partial(archive.open, info))


def _tar_entries(archive: tarfile.TarFile, stream: "_SmallReads") -> Iterator[Member]:
    for info in archive:
        kind = "folder" if info.isdir() else "a special file"
        if info.issym() or info.islnk():
            kind = "a link"
        elif info.isreg():
            kind = "a sparse file" if info.issparse() else "file"
        yield Member(info.name, kind, info.size, partial(archive.extractfile, info))
    # tarfile takes a broken header for the end; the end is zeros or the end of the file.
    stream.seek(archive.offset)
    if stream.read(TAR_BLOCK_BYTES).strip(b"\0"):
        raise tarfile.ReadError(f"no header at byte {archive.offset}")
    # Read on to the end of the stream: only there are the checksums of gz, bz2 and xz compared.
    padding = stream.read(LARGEST_PADDING_BYTES)
    while block := stream.read(LARGEST_PADDING_BYTES - len(padding)):
        padding += block
    if len(padding) == LARGEST_PADDING_BYTES:
        raise UnsafeArchiveError("more data follows its end")


class _SmallReads(RawIOBase):
    """A stream that refuses to read megabytes in one go."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= LARGEST_READ_BYTES:
            raise UnsafeArchiveError(f"a header claims {size} bytes")
        return read_block(self._stream, size)

    def seek(self, offset: int, whence: int = 0) -> int:
        with _damage_told_apart():
            return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()


def read_block(stream: Stream, size: int) -> bytes:
    """Up to `size` bytes; tarfile.ReadError for damaged data, OSError where the disk fails."""
    with _damage_told_apart():
        return stream.read(size)


@contextmanager
def _damage_told_apart() -> Iterator[None]:
    """Damaged gz and bz2 data are an OSError too, but one without a number."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            raise
        raise tarfile.ReadError(str(error)) from error
