"""Booby-trapped archives: what they are called, how they are made, why they are refused."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterable

from datamodules.fetching.archives import Limits

SMALL = Limits(max_files=20, max_bytes=400_000, max_ratio=20.0, ratio_from_bytes=10_000)

Build = Callable[[], bytes]


def zipped(
    *names: str, content: bytes = b"x", mode: int = 0, change: dict[str, int] | None = None
) -> bytes:
    """A zip of files of one content; `change` sets fields of every member's ZipInfo."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, "w") as archive:
        warnings.simplefilter("ignore")  # of repeated names, which are the point
        for name in names:
            info = zipfile.ZipInfo("placeholder")
            info.filename = name
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = mode << 16
            archive.writestr(info, content)
        for info in archive.infolist():
            for field, value in (change or {}).items():
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


def linked(kind: bytes, target: str, *, then: str = "link/inside") -> bytes:
    """A tar with a link and, behind it, a file that would be written through it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = kind, target
        archive.addfile(info)
        inside = tarfile.TarInfo(then)
        inside.size = 1
        archive.addfile(inside, io.BytesIO(b"x"))
    return stream.getvalue()


def sized(claim: int) -> bytes:
    """A tar whose header claims `claim` bytes; only a few follow."""
    info = tarfile.TarInfo("file")
    info.size = claim
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(1024)


def long_name(claim: int) -> bytes:
    """A tar whose first member is a name that claims to be `claim` bytes long."""
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, claim
    return info.tobuf(tarfile.GNU_FORMAT) + bytes(4096)


def patched(archive: bytes, old: bytes, new: bytes) -> bytes:
    """The archive with bytes exchanged everywhere, none added."""
    assert old in archive and len(old) == len(new)
    return archive.replace(old, new)


def understated() -> bytes:
    """A zip bomb whose two headers say 5 bytes."""
    bomb = zipped("bomb", content=bytes(300_000))
    return patched(bomb, struct.pack("<L", 300_000), struct.pack("<L", 5))


def broken_in_the_middle() -> bytes:
    """A tar whose second header is noise: tarfile alone would take it for the end."""
    archive = bytearray(tarred("one", "two", "three"))
    archive[1024:1100] = bytes(range(1, 77))
    return bytes(archive)


def flipped_gzip() -> bytes:
    """A tar.gz with the content's checksum changed at its end."""
    packed = bytearray(gzip.compress(tarred("one", content=b"y" * 2000)))
    packed[-8] ^= 0xFF
    return bytes(packed)


NOISE = bytes(range(256)) * 4
UNSAFE_NAMES = {
    "upwards": "../outside",
    "upwards inside": "a/../../outside",
    "only upwards": "..",
    "absolute": "/tmp_outside",
    "drive": "C:/outside",
    "drive relative": "C:outside",
    "backslashes": "..\\outside",
    "network share": "\\\\host\\share",
    "stream": "file.txt:hidden",
    "line break": "a\nb",
    "too long": "a/" * 600 + "b",
}
TWICE = {
    "twice": ("a.png", "a.png"),
    "twice by case": ("a.png", "A.PNG"),
    "twice by dots": ("a/b.png", "./a//b.png"),
    "twice by accent": ("\u00e9.png", "e\u0301.png"),
    "folders by case": ("Data/x.png", "data/y.png"),
    "file and folder": ("a", "a/b"),
    "trailing dot": ("a", "a."),
}
SPECIAL = {
    "device": tarfile.CHRTYPE,
    "disk": tarfile.BLKTYPE,
    "fifo": tarfile.FIFOTYPE,
    "unknown type": b"Z",
}


def traps() -> Iterable[tuple[str, Build, str]]:
    """Name, maker and the words of the refusal."""
    for label, name in UNSAFE_NAMES.items():
        yield f"zip {label}", lambda name=name: zipped("good", name), "the name"
        yield f"tar {label}", lambda name=name: tarred("good", name), "the name"
    for label, names in TWICE.items():
        reason = "repeated|one name|a file and a folder"
        yield f"zip {label}", lambda names=names: zipped(*names), reason
        yield f"tar {label}", lambda names=names: tarred(*names), reason
    for label, kind in SPECIAL.items():
        yield f"tar {label}", lambda kind=kind: tarred("good", type=kind), "a special file"
    for target in ("..", "/etc", "good"):
        yield f"tar symlink to {target}", lambda t=target: linked(tarfile.SYMTYPE, t), "a link"
        yield f"tar hard link to {target}", lambda t=target: linked(tarfile.LNKTYPE, t), "a link"
    yield "zip symlink", lambda: zipped("l", content=b"/etc", mode=0o120777), "a link"
    yield "zip fifo", lambda: zipped("l", mode=0o010644), "a special file"
    yield "zip device", lambda: zipped("l", mode=0o020644), "a special file"
    yield "zip file as folder", lambda: zipped("l", mode=0o040755), "a special file"
    yield "zip folder with content", lambda: zipped("f/", content=b"abc"), "a folder with content"
    yield "zip zero byte", lambda: patched(zipped("a_b"), b"a_b", b"a\0b"), "the name"
    yield "zip encrypted", lambda: zipped("l", change={"flag_bits": 1}), "is encrypted: expected"
    yield "zip strange method", lambda: zipped("l", change={"compress_type": 97}), "unknown way"
    yield from bombs()
    yield from damaged()


def bombs() -> Iterable[tuple[str, Build, str]]:
    """Archives that would fill a disk, the memory, or never end."""
    much = "unpacks to more"
    zeros = bytes(300_000)
    yield "zip ratio", lambda: zipped("bomb", content=zeros), much
    yield "zip ratio in parts", lambda: zipped(*"abcdef", content=bytes(9_000)), much
    yield "tar.gz ratio", lambda: gzip.compress(tarred("bomb", content=zeros)), much
    yield "tar.bz2 ratio", lambda: bz2.compress(tarred("bomb", content=zeros)), much
    yield "tar.xz ratio", lambda: lzma.compress(tarred("bomb", content=zeros)), much
    yield "tar size", lambda: tarred("a", "b", content=bytes(250_000)), much
    yield "tar claims terabytes", lambda: sized(2**42), much
    yield "tar.gz claims terabytes", lambda: gzip.compress(sized(2**42)), much
    yield "tar negative size", lambda: sized(-512), "claims -512|damaged"
    yield "zip count", lambda: zipped(*map(str, range(21))), "more than 20 entries"
    yield "tar count", lambda: tarred(*map(str, range(21))), "more than 20 entries"
    yield "tar count of folders", lambda: folders(21), "more than 20 entries"
    yield "tar name of gigabytes", lambda: long_name(2**33), "a header claims"
    yield "tar.gz endless padding", lambda: gzip.compress(tarred("a") + bytes(2**21)), "more data"
    yield "zip understated", understated, "damaged"
    yield "zip overstated", lambda: zipped("l", change={"file_size": 7}), "header says 7|damaged"


def folders(count: int) -> bytes:
    """A tar of empty folders."""
    return tarred(*map(str, range(count)), type=tarfile.DIRTYPE)


def damaged() -> Iterable[tuple[str, Build, str]]:
    """Archives that are cut, changed or none."""
    whole = tarred("a", "b", content=NOISE)
    yield "nothing", lambda: b"", "damaged"
    yield "no archive", lambda: b"<html>404 not found</html>" * 40, "damaged"
    yield "zip without files", lambda: zipped(), "no files"
    yield "tar of folders alone", lambda: folders(3), "no files"
    yield "zip cut", lambda: zipped("a", content=NOISE)[:-30], "damaged"
    yield "zip of two minds", lambda: zipped("aaa").replace(b"aaa", b"bbb", 1), "damaged.*differ"
    yield "tar cut in a file", lambda: whole[:900], "damaged"
    yield "tar cut in a header", lambda: whole[:1700], "damaged"
    yield "tar broken in the middle", broken_in_the_middle, "no header at byte 1024"
    for label, pack in (("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)):
        yield f"tar.{label} cut", lambda pack=pack: pack(whole)[:-40], "damaged"
        yield f"{label} of no tar", lambda pack=pack: pack(NOISE), "damaged"
    yield "tar.gz with a wrong checksum", flipped_gzip, "damaged"
    yield "tar.gz with noise inside", lambda: gzip.compress(whole)[:60] + NOISE, "damaged"
    yield "tar.bz2 with noise inside", lambda: bz2.compress(whole)[:60] + NOISE, "damaged"
    yield "zip behind a tar", lambda: whole[:1024] + zipped("inner"), "no header|damaged"
