"""One official file of a data set: loaded whole, proven by its sha256, unpacked as if hostile.

Which files those are is said by `sources/about.yaml`, read by `about.py`.
"""

import hashlib
import http.client
import lzma
import stat
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from datamodules.about import Download
from datamodules.decode import sha256_of
from datamodules.whole_files import whole

BLOCK_BYTES = 2**20
# For connecting and for each block: a server that falls silent ends the attempt, not the program.
TIMEOUT_SECONDS = 30.0
LARGEST_BYTES = 64 * 2**30
# Photographs hardly shrink: what unpacks to far more than it weighs is meant to fill the disk.
LARGEST_RATIO = 100
LARGEST_UNSUSPECTED_BYTES = 64 * 2**20
LONGEST_NAME = 1024
MOVED = "the address may have moved; see the homepage of the data set"
DAMAGE = (
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    RuntimeError,  # encrypted, or packed in an unknown way
)
Progress = Callable[[int], None]


def download(item: Download, folder: Path, *, progress: Progress | None = None) -> Path:
    """The path of the whole, proven file in `folder`; one that is there is not loaded again.

    progress: called with the bytes so far. Raises ValueError for another sha256 or size, OSError
    where the network or the disk fails; nothing is left of such a file.
    """
    target = folder / item.file_name
    if target.exists():
        if sha256_of(target) != item.sha256:
            raise ValueError(
                f"{target} has sha256 {sha256_of(target)}, expected {item.sha256}: remove it and "
                "run the same command again"
            )
        return target
    with whole(target) as unfinished:
        sha256 = _receive(item, unfinished, progress)
        if sha256 != item.sha256:
            raise ValueError(f"{item.url} has sha256 {sha256}, expected {item.sha256}: {MOVED}")
    return target


def _receive(item: Download, target: Path, progress: Progress | None) -> str:
    """The sha256 of what the server sends, now in `target`."""
    digest, size_bytes = hashlib.sha256(), 0
    with _opened_url(item) as answer, target.open("wb") as file:
        expected_bytes = item.size_bytes or int(answer.headers.get("Content-Length") or 0)
        while block := answer.read(BLOCK_BYTES):
            size_bytes += len(block)
            if size_bytes > (expected_bytes or LARGEST_BYTES):
                raise ValueError(f"{item.url} sends more than {expected_bytes} bytes: {MOVED}")
            digest.update(block)
            file.write(block)
            if progress is not None:
                progress(size_bytes)
    if size_bytes < expected_bytes:
        raise OSError(
            f"{item.url} sent {size_bytes} of {expected_bytes} bytes: run the same command again"
        )
    return digest.hexdigest()


@contextmanager
def _opened_url(item: Download) -> Iterator[http.client.HTTPResponse]:
    """The server's answer; whatever a network does becomes an OSError of one line."""
    # Compressed on the way, the bytes would not be those of the file.
    headers = {"User-Agent": "diffuse-defect", "Accept-Encoding": "identity"}
    request = urllib.request.Request(item.url, headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            if urlsplit(answer.url).scheme not in ("http", "https"):
                raise ValueError(f"{item.url} leads to {answer.url!r}: expected http or https")
            yield answer
    except urllib.error.HTTPError as error:
        raise OSError(f"{item.url} answered {error.code} {error.reason}: {MOVED}") from error
    except (urllib.error.URLError, TimeoutError, http.client.HTTPException) as error:
        reason = getattr(error, "reason", error)
        raise OSError(f"cannot load {item.url} ({reason}): run the same command again") from error


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of an archive: its name as stored, "file", "folder" or what else it is."""

    name: str
    kind: str
    size_bytes: int


def extract(archive: Path, folder: Path, *, max_bytes: int = LARGEST_BYTES) -> int:
    """Unpack a zip or tar (plain, gz, bz2, xz) as the new folder `folder`; how many files it has.

    All entries are looked at before the first is written: links, devices, encrypted entries,
    names that lead outside or occur twice, and more than `max_bytes` (or 100 times the archive's
    own size) refuse the whole archive. Raises ValueError for such a one, OSError where the disk
    fails; nothing is left behind then.
    """
    max_bytes = min(
        max_bytes, max(LARGEST_UNSUSPECTED_BYTES, LARGEST_RATIO * archive.stat().st_size)
    )
    try:
        with whole(folder) as unfinished:
            unfinished.mkdir()
            if zipfile.is_zipfile(archive):
                with zipfile.ZipFile(archive) as packed:
                    count = _check(_zip_members(packed), max_bytes)
                    packed.extractall(unfinished)
            else:
                with tarfile.open(archive) as packed_tar:
                    count = _check(_tar_members(packed_tar), max_bytes)
                    packed_tar.extractall(unfinished, filter="data")
    except DAMAGE as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(
            f"archive {archive} is damaged or of another kind ({reason}): expected a whole zip, "
            "tar, tar.gz, tar.bz2 or tar.xz; load it again"
        ) from error
    except ValueError as error:
        raise ValueError(f"archive {archive} is not unpacked: {error}") from error
    return count


def _check(members: Iterable[Member], max_bytes: int) -> int:
    """The number of files; ValueError for the first entry that may not be unpacked."""
    total_bytes, count = 0, 0
    known: set[str] = set()
    for member in members:
        if member.kind not in ("file", "folder"):
            raise ValueError(f"{member.name!r} is {member.kind}: expected only files and folders")
        name = member.name
        is_odd = any(character in "\\:" or ord(character) < 32 for character in name)
        if name.startswith("/") or ".." in name.split("/") or is_odd or len(name) > LONGEST_NAME:
            raise ValueError(
                f"the name {name[:80]!r} is absolute, leads upwards, is too long, or holds a "
                "backslash, a colon or a control character"
            )
        if member.kind == "file":
            count += 1
            total_bytes += member.size_bytes
            if total_bytes > max_bytes:
                raise ValueError(f"it unpacks to more than {max_bytes} bytes")
            # Some disks take two spellings for one name.
            if name.casefold() in known:
                raise ValueError(f"it holds {name!r} twice")
            known.add(name.casefold())
    if not count:
        raise ValueError("it holds no files")
    return count


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        kind = "folder" if info.is_dir() else "file"
        mode = stat.S_IFMT(info.external_attr >> 16)
        if mode not in (0, stat.S_IFDIR if info.is_dir() else stat.S_IFREG):
            kind = "a link or a special file"
        # The name as stored: zipfile cuts its own copy at a zero byte.
        yield Member(info.orig_filename, kind, info.file_size)


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        kind = "folder" if info.isdir() else "a link or a special file"
        if info.isreg() and not info.issparse() and info.size >= 0:
            kind = "file"
        yield Member(info.name, kind, info.size)
