"""A file from the web is whole and proven or absent; an archive is unpacked whole or not at all."""

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from datamodules.download import download, extract
from tests.datamodules.file_server import FileServer, serving

BODY = np.random.default_rng(0).bytes(3_000_000)
SHA256 = hashlib.sha256(BODY).hexdigest()
FILES = {"a/one.txt": b"1", "a/b/two words.txt": b"2" * 5000, "three.bin": bytes(range(256))}
NOISE = np.random.default_rng(1).bytes(2000)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    monkeypatch.setenv("no_proxy", "*")
    with serving(BODY) as running:
        yield running


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_arrives_whole_and_alone_and_is_not_loaded_again(server, tmp_path):
    item, seen = server.item(SHA256, size_bytes=len(BODY)), []
    for _ in range(2):
        path = download(item, tmp_path / "new", progress=seen.append)
    assert path.read_bytes() == BODY and names(path.parent) == ["set.zip"]
    assert server.request_count == 1 and seen[-1] == len(BODY) and seen == sorted(seen)


@pytest.mark.parametrize(
    ("sha256", "size_bytes", "settings", "words"),
    [
        ("1" * 64, 0, {}, f"has sha256 {SHA256}, expected {'1' * 64}: .*homepage"),
        (SHA256, len(BODY) - 1, {}, "sends more than 2999999 bytes"),
        (SHA256, len(BODY) + 1, {}, "sent 3000000 of 3000001 bytes: run the same command again"),
        (SHA256, 0, {"sent_bytes": 1_250_000}, "sent 1250000 of 3000000 bytes"),
        (SHA256, 0, {"status": 404}, "answered 404 .*homepage"),
        (SHA256, 0, {"redirect_to": "file:///etc/hosts"}, "answered 302"),
        (SHA256, 0, {"redirect_to": "ftp://127.0.0.1/set.zip"}, "expected http|cannot load"),
    ],
)
def test_any_other_answer_is_one_line_and_leaves_nothing(
    server, tmp_path, sha256, size_bytes, settings, words
):
    for name, value in settings.items():
        setattr(server, name, value)
    with pytest.raises((ValueError, OSError), match=words) as refused:
        download(server.item(sha256, size_bytes), tmp_path)
    assert names(tmp_path) == [] and "\n" not in str(refused.value)


def test_no_server_at_all_is_one_line_with_a_remedy(server, tmp_path):
    server.server_port = 1
    with pytest.raises(OSError, match=r"cannot load http.*run the same command again"):
        download(server.item(SHA256), tmp_path)


def test_a_damaged_file_of_the_final_name_is_not_trusted(server, tmp_path):
    (tmp_path / "set.zip").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="remove it and run"):
        download(server.item(SHA256), tmp_path)


def zipped(*names: str, content: bytes = b"x", mode: int = 0, **change: int) -> bytes:
    """A zip of files of one content; `change` sets fields of every ZipInfo."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # of repeated names, which are the point
        for name in names:
            info = zipfile.ZipInfo("placeholder")
            info.filename, info.external_attr = name, mode << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
        for info in archive.infolist():
            for field, value in change.items():
                setattr(info, field, value)
    return stream.getvalue()


def tarred(*names: str, content: bytes = b"x", **fields: object) -> bytes:
    """A tar of members of one content; `fields` are those of every TarInfo."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name in names:
            info = tarfile.TarInfo(name)
            info.size = 0 if "type" in fields else len(content)
            for field, value in fields.items():
                setattr(info, field, value)
            archive.addfile(info, None if "type" in fields else io.BytesIO(content))
    return stream.getvalue()


def sound_tar() -> bytes:
    """FILES with folder entries, names that begin with a dot, modes that nobody should keep."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name in (".", "./a"):
            folder = tarfile.TarInfo(name)
            folder.type, folder.mode = tarfile.DIRTYPE, 0o755
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


@pytest.mark.parametrize(
    ("build", "pack"),
    [
        (sound_zip, bytes),
        *((sound_tar, pack) for pack in (bytes, gzip.compress, bz2.compress, lzma.compress)),
    ],
)
def test_an_archive_comes_out_as_it_went_in(tmp_path, build, pack: Callable[[bytes], bytes]):
    (tmp_path / "archive").write_bytes(pack(build()))
    out = tmp_path / "new" / "out"
    assert extract(tmp_path / "archive", out) == 3
    files = {path for path in out.rglob("*") if path.is_file()}
    assert {path.relative_to(out).as_posix(): path.read_bytes() for path in files} == FILES
    assert not any(path.stat().st_mode & 0o7000 for path in files)


UNSAFE_NAMES = (
    *("../outside", "a/../../outside", "..", "/outside", "C:/outside", "..\\outside"),
    *("\\\\host\\share", "file.txt:hidden", "a\nb", "a/" * 600 + "b"),
)
SPECIAL = (tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE)
TRAPS = [
    *((zipped("good", name), "the name") for name in UNSAFE_NAMES),
    *((tarred("good", name), "the name") for name in UNSAFE_NAMES),
    *((build("a.png", "A.PNG"), "twice") for build in (zipped, tarred)),
    *((tarred("l", type=kind, linkname="/etc"), "special file") for kind in SPECIAL),
    *((zipped("l", mode=mode), "special file") for mode in (0o120777, 0o010644, 0o040755)),
    (zipped("a_b").replace(b"a_b", b"a\0b"), "the name"),
    (zipped("l", flag_bits=1), "damaged .*encrypted"),
    (zipped("l", compress_type=97), "damaged .*supported"),
    (zipped(*"abcdef", content=bytes(90_000)), "unpacks to more than 400000"),
    (gzip.compress(tarred("bomb", content=bytes(500_000))), "unpacks to more"),
    (tarred("a", "b", content=NOISE * 125), "unpacks to more"),
    (tarred("a", "b", content=NOISE)[:900], "damaged"),
    (gzip.compress(tarred("a", content=NOISE))[:-40], "damaged"),
    (zipped("a", content=NOISE)[:-30], "damaged"),
    (b"<html>404 not found</html>" * 40, "damaged or of another kind"),
    (b"", "damaged"),
    (zipped(), "no files"),
    (tarred(*"abc", type=tarfile.DIRTYPE), "no files"),
]


@pytest.mark.parametrize(("content", "words"), TRAPS, ids=range(len(TRAPS)))
def test_a_trap_is_refused_and_leaves_no_trace(tmp_path, content, words):
    archive = tmp_path / "archive"
    archive.write_bytes(content)
    with pytest.raises(ValueError, match=words) as refused:
        extract(archive, tmp_path / "out", max_bytes=400_000)
    assert str(archive) in str(refused.value) and "\n" not in str(refused.value)
    assert list(tmp_path.rglob("*")) == [archive]


def test_what_is_there_is_never_overwritten(tmp_path):
    (tmp_path / "archive").write_bytes(sound_zip())
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_bytes(b"mine")
    with pytest.raises(OSError, match="not empty"):
        extract(tmp_path / "archive", tmp_path / "out")
    assert names(tmp_path / "out") == ["mine.txt"]
