"""A file from the web that is whole and proven by its sha256, or absent; resumed where it stopped.

What is loaded is said by `about.py`; unpacking is `archives.py`.
"""

import hashlib
import http.client
import json
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from datamodules.about import SCHEMES, Download

BLOCK_BYTES = 2**20
# For connecting and for each block: a server that falls silent ends the attempt, not the program.
TIMEOUT_SECONDS = 30.0
# Where neither we nor the server know the size.
LARGEST_BYTES = 64 * 2**30
AGENT = "diffuse-defect"
AGAIN = "run the same command again to continue"
MOVED = "the address may have moved; see the homepage of the data set"
CONTENT_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)")
# The same request gets the same answer: the address is at fault, not the line. A redirection is
# seen here only where it leads off the web or in a circle.
FINAL_STATUSES = (301, 302, 303, 307, 308, 400, 401, 403, 404, 405, 410, 451)

Progress = Callable[[int, int], None]


def download(item: Download, folder: Path, *, progress: Progress | None = None) -> Path:
    """The path of the whole, verified file in `folder`; one that is there is not loaded again.

    What came of an interrupted transfer stays beside as `.part` and is continued, unless the
    server's file has changed. progress: called with the bytes so far and in all (0 unknown).
    Raises ValueError for another sha256 or size, OSError where the network or the disk fails.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / item.file_name
    if target.exists():
        _verify(item, target, remedy=f"remove {target} and run the same command again")
        return target
    part = _Part(item, target)
    try:
        _load(item, part, progress)
        _verify(item, part.path, remedy=f"it was removed; load it again, or {MOVED}")
    except ValueError:
        part.discard()
        raise
    os.replace(part.path, target)
    part.discard()
    return target


def _verify(item: Download, path: Path, *, remedy: str) -> None:
    """Nothing for the very file that is wanted; ValueError else."""
    size_bytes = path.stat().st_size
    if item.size_bytes and size_bytes != item.size_bytes:
        raise ValueError(
            f"{path.name} of {item.url} has {size_bytes} bytes, "
            f"expected {item.size_bytes}: {remedy}"
        )
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if sha256 != item.sha256:
        raise ValueError(
            f"{path.name} of {item.url} has sha256 {sha256}, expected {item.sha256}: {remedy}"
        )


class _Part:
    """The unfinished file and, beside it, a note which version of the server's file it is of."""

    def __init__(self, item: Download, target: Path) -> None:
        self.path = target.with_name(f"{target.name}.part")
        self._note_path = target.with_name(f"{target.name}.part.json")
        self._wanted = {"url": item.url, "sha256": item.sha256}
        note = self._read_note()
        self.version = note.get("version", "")
        if not self.path.is_file() or {**note, **self._wanted} != note:
            self.discard()

    def size_bytes(self) -> int:
        """How much of the wanted file is there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def begin(self, version: str) -> None:
        """An empty file that will hold this version of the server's file."""
        self.version = version
        self.path.write_bytes(b"")
        note = json.dumps({**self._wanted, "version": version})
        self._note_path.write_text(note, encoding="utf-8")

    def discard(self) -> None:
        """No unfinished file and no note."""
        self.version = ""
        self.path.unlink(missing_ok=True)
        self._note_path.unlink(missing_ok=True)

    def _read_note(self) -> dict[str, str]:
        try:
            note = json.loads(self._note_path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return note if isinstance(note, dict) else {}


def _load(item: Download, part: _Part, progress: Progress | None) -> None:
    """Add to the part what it lacks; OSError where the transfer breaks off."""
    have_bytes = part.size_bytes()
    if item.size_bytes and have_bytes >= item.size_bytes:
        return  # stopped between the last byte and the check
    answer = _ask(item, have_bytes, version=part.version)
    if answer.status != 200 and not _continues(answer, have_bytes, version=part.version):
        answer.close()
        if answer.status == 416 and _whole_bytes(answer) == have_bytes:
            return  # the same, and the server knows the size
        have_bytes = 0
        answer = _ask(item, 0, version="")
    with answer:
        if answer.status == 200:
            have_bytes = 0
            part.begin(_version(answer))
        elif not have_bytes:
            raise OSError(f"{item.url} answered {answer.status} {answer.reason}: {AGAIN}")
        total_bytes = _whole_bytes(answer)
        _check_room(item, part, total_bytes=total_bytes)
        with part.path.open("ab") as file:
            _receive(item, answer, file, total_bytes=total_bytes, progress=progress)


def _continues(answer: http.client.HTTPResponse, have_bytes: int, *, version: str) -> bool:
    """Whether the answer goes on where the part stops, in the same version of the file."""
    found = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    begins = answer.status == 206 and found is not None and found[1] == str(have_bytes)
    return begins and have_bytes > 0 and _version(answer) == version


def _check_room(item: Download, part: _Part, *, total_bytes: int) -> None:
    """ValueError for a file of another size than the known one, OSError for too small a disk."""
    if item.size_bytes and total_bytes and total_bytes != item.size_bytes:
        raise ValueError(
            f"{item.url} has {total_bytes} bytes, expected {item.size_bytes}: the file was changed "
            f"there; {MOVED}"
        )
    free_bytes = shutil.disk_usage(part.path.parent).free
    missing_bytes = (item.size_bytes or total_bytes) - part.size_bytes()
    if missing_bytes > free_bytes:
        raise OSError(
            f"cannot load {item.url}: {missing_bytes} bytes needed in {part.path.parent}, "
            f"{free_bytes} free; make room and {AGAIN}"
        )


def _receive(
    item: Download,
    answer: http.client.HTTPResponse,
    file: IO[bytes],
    *,
    total_bytes: int,
    progress: Progress | None,
) -> None:
    """Append the answer to the file, which keeps what came when the transfer breaks off."""
    expected_bytes = item.size_bytes or total_bytes
    done_bytes = file.tell()
    while True:
        with _network_faults(item):
            block = answer.read1(BLOCK_BYTES)
        if not block:
            break
        done_bytes += len(block)
        if done_bytes > (expected_bytes or LARGEST_BYTES):
            raise ValueError(
                f"{item.url} sends more than {expected_bytes or LARGEST_BYTES} bytes: the file was "
                f"changed there; {MOVED}"
            )
        file.write(block)
        if progress is not None:
            progress(done_bytes, expected_bytes)
    if done_bytes < expected_bytes:
        raise OSError(f"{item.url} broke off at {done_bytes} of {expected_bytes} bytes: {AGAIN}")


def _ask(item: Download, have_bytes: int, *, version: str) -> http.client.HTTPResponse:
    """The server's answer, status 200, 206 or 416; OSError for any other."""
    request = urllib.request.Request(item.url, headers={"User-Agent": AGENT})
    # Compressed on the way, the bytes would not be those of the file.
    request.add_header("Accept-Encoding", "identity")
    if have_bytes:
        request.add_header("Range", f"bytes={have_bytes}-")
        if version:
            request.add_header("If-Range", version)
    with _network_faults(item):
        opener = urllib.request.build_opener(_WebOnly, _RangeAnswers)
        return opener.open(request, timeout=TIMEOUT_SECONDS)


@contextmanager
def _network_faults(item: Download) -> Iterator[None]:
    """Whatever a network does as an OSError of one line with what to do."""
    try:
        yield
    except urllib.error.HTTPError as error:
        error.close()
        remedy = MOVED if error.code in FINAL_STATUSES else AGAIN
        raise OSError(f"{item.url} answered {error.code} {error.reason}: {remedy}") from error
    except (OSError, http.client.HTTPException) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        reason = str(reason) or type(reason).__name__
        raise OSError(f"cannot load {item.url} ({reason}): {AGAIN}") from error


def _version(answer: http.client.HTTPResponse) -> str:
    """The strong ETag or the date of the server's file, "" where it tells neither."""
    etag = answer.headers.get("ETag", "")
    return etag if etag.startswith('"') else answer.headers.get("Last-Modified", "")


def _whole_bytes(answer: http.client.HTTPResponse) -> int:
    """The size of the whole file as the server says it, 0 where it does not."""
    found = CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    text = answer.headers.get("Content-Length", "") if answer.status == 200 else found and found[2]
    return int(text) if text and text.isdigit() else 0


class _WebOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirections to web addresses, nowhere else."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urlsplit(newurl).scheme not in SCHEMES:
            raise ValueError(f"{req.full_url} leads to {newurl!r}: expected http or https; {MOVED}")
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


class _RangeAnswers(urllib.request.HTTPErrorProcessor):
    """Hands on 416, "nothing lies in that range", as an answer and not as an error."""

    def http_response(
        self, request: urllib.request.Request, response: http.client.HTTPResponse
    ) -> http.client.HTTPResponse:
        if response.status == 416:
            return response
        return super().http_response(request, response)

    https_response = http_response
