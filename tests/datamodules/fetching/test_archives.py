"""Claims about unpacking: the very files of a sound archive, and not a trace of any other."""

import bz2
import gzip
import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from datamodules.fetching import archives
from datamodules.fetching.archive_members import Member
from datamodules.fetching.archives import Limits, extract
from tests.datamodules.fetching.archive_traps import SMALL, Build, tarred, traps, zipped

TRAPS = list(traps())
FILES = {"a/one.txt": b"1", "a/b/two words.txt": b"2" * 5000, "three.bin": bytes(range(256))}
PACKINGS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
}


def sound_tar() -> bytes:
    """FILES with a folder entry, modes that nobody should keep, and names that begin with a dot."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in (".", "./a"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o000
            archive.addfile(folder)
        for name, content in FILES.items():
            info = tarfile.TarInfo(f"./{name}")
            info.size, info.mode = len(content), 0o6777
            archive.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def sound_zip() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/", b"")
        for name, content in FILES.items():
            archive.writestr(name, content)
    return stream.getvalue()


def written(folder: Path, content: bytes) -> Path:
    path = folder / "archive"
    path.write_bytes(content)
    return path


def tree(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_tar_comes_out_as_it_went_in(packing: str, tmp_path: Path) -> None:
    archive = written(tmp_path, PACKINGS[packing](sound_tar()))
    assert extract(archive, tmp_path / "out") == 3
    assert tree(tmp_path / "out") == FILES


def test_a_zip_comes_out_as_it_went_in(tmp_path: Path) -> None:
    assert extract(written(tmp_path, sound_zip()), tmp_path / "new" / "out") == 3
    assert tree(tmp_path / "new" / "out") == FILES


def test_an_empty_folder_is_filled(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    extract(written(tmp_path, sound_zip()), tmp_path / "out")
    assert tree(tmp_path / "out") == FILES


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_modes_are_plain_whatever_archive_and_shell_say(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        extract(written(tmp_path, sound_tar()), tmp_path / "out")
    finally:
        os.umask(before)
    modes = {(p.is_dir(), stat.S_IMODE(p.stat().st_mode)) for p in (tmp_path / "out").rglob("*")}
    assert modes == {(True, 0o755), (False, 0o644)}


def test_there_are_many_traps() -> None:
    assert len(TRAPS) >= 60 and len({name for name, _, _ in TRAPS}) == len(TRAPS)


@pytest.mark.parametrize(
    ("build", "words"), [trap[1:] for trap in TRAPS], ids=[t[0] for t in TRAPS]
)
def test_a_trap_is_refused_and_leaves_no_trace(build: Build, words: str, tmp_path: Path) -> None:
    archive = written(tmp_path, build())
    with pytest.raises(ValueError, match=words) as refused:
        extract(archive, tmp_path / "deep" / "inside" / "out", limits=SMALL)
    assert str(archive) in str(refused.value) and "\n" not in str(refused.value)
    assert list(tmp_path.rglob("*")) == [archive]


def test_bytes_are_counted_whatever_the_headers_say(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def lying(archive: Path) -> Iterator[list[Member]]:
        yield [Member("file", "file", 5, lambda: io.BytesIO(bytes(10_001)))]

    monkeypatch.setattr(archives, "opened_archive", lying)
    archive = written(tmp_path, b"any")
    with pytest.raises(ValueError, match="unpacks to more than 10000 bytes"):
        extract(archive, tmp_path / "out", limits=SMALL)
    assert list(tmp_path.iterdir()) == [archive]


def test_limits_are_met_exactly(tmp_path: Path) -> None:
    limits = Limits(max_files=2, max_bytes=200, max_ratio=1, ratio_from_bytes=200)
    archive = written(tmp_path, tarred("a", "b", content=bytes(100)))
    assert extract(archive, tmp_path / "out", limits=limits) == 2


def test_what_is_there_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_bytes(b"mine")
    with pytest.raises(ValueError, match="nothing is overwritten"):
        extract(written(tmp_path, sound_zip()), tmp_path / "out")
    assert tree(tmp_path / "out") == {"mine.txt": b"mine"}


def test_a_file_of_the_folders_name_is_never_overwritten(tmp_path: Path) -> None:
    archive = written(tmp_path, sound_zip())
    with pytest.raises(ValueError, match="nothing is overwritten"):
        extract(archive, archive)


def test_a_missing_archive_is_said(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is missing"):
        extract(tmp_path / "none.zip", tmp_path / "out")


def test_too_small_a_disk_is_told_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "_check_disk", _no_room)
    archive = written(tmp_path, zipped("a"))
    with pytest.raises(OSError, match="full"):
        extract(archive, tmp_path / "new" / "out")
    assert list(tmp_path.iterdir()) == [archive]


def _no_room(needed_bytes: int, folder: Path) -> None:
    raise OSError("full")


def test_an_interruption_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object) -> bytes:
        raise KeyboardInterrupt

    monkeypatch.setattr(archives, "read_block", interrupted)
    archive = written(tmp_path, sound_zip())
    with pytest.raises(KeyboardInterrupt):
        extract(archive, tmp_path / "out")
    assert list(tmp_path.iterdir()) == [archive]
