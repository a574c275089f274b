"""What is done to a healthy fake data set: one file is cut, replaced or edited.

What must come of it is `ending.py`.
"""

import io
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

PIXELS = np.random.default_rng(7).integers(0, 255, (40, 50), dtype=np.uint8)


@dataclass(frozen=True)
class Damage:
    """What is done to the file at `path`, relative to the root, which `act` is given."""

    path: str
    act: Callable[[Path], None]


@dataclass(frozen=True)
class Case:
    """A damaged copy of a source's fake layout; the name says what is wrong.

    costs: how many healthy pictures may be lost where the set survives; fault: why we do not
    hold the claim yet, "" where we do.
    """

    name: str
    source: str
    damage: Damage
    costs: int = 1
    fault: str = ""


def put(path: str, content: bytes) -> Damage:
    """Writes content as a file below the root, over what is there."""

    def act(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(content)

    return Damage(path, act)


def edit(path: str, old: str, new: str) -> Damage:
    """Replaces words of a text file, which must be there."""

    def act(root: Path) -> None:
        text = (root / path).read_text(encoding="utf-8-sig")
        assert old in text, f"{old!r} is not in {path}"
        (root / path).write_bytes(text.replace(old, new, 1).encode("utf-8", "surrogateescape"))

    return Damage(path, act)


def cut(path: str, share: float) -> Damage:
    """Keeps the first part of a file."""

    def act(root: Path) -> None:
        content = (root / path).read_bytes()
        (root / path).write_bytes(content[: int(len(content) * share)])

    return Damage(path, act)


def drop(path: str) -> Damage:
    """Removes a file."""
    return Damage(path, lambda root: (root / path).unlink())


def link(path: str, target: str) -> Damage:
    """Puts a symbolic link in a file's place."""

    def act(root: Path) -> None:
        (root / path).unlink(missing_ok=True)
        (root / path).symlink_to(target)

    return Damage(path, act)


def turn_into_folder(path: str) -> Damage:
    """Puts an empty folder in a file's place."""

    def act(root: Path) -> None:
        (root / path).unlink(missing_ok=True)
        (root / path).mkdir(parents=True)

    return Damage(path, act)


def both(first: Damage, second: Damage) -> Damage:
    """One damage that needs two files; it is called by the first."""

    def act(root: Path) -> None:
        first.act(root)
        second.act(root)

    return Damage(first.path, act)


def picture(kind: str, pixels: np.ndarray = PIXELS, **settings: object) -> bytes:
    """A picture file of a kind, as bytes."""
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, format=kind, **settings)
    return written.getvalue()


def png_chunk(kind: bytes, content: bytes) -> bytes:
    """One chunk of a PNG file."""
    checksum = zlib.crc32(kind + content)
    return len(content).to_bytes(4, "big") + kind + content + checksum.to_bytes(4, "big")


def png_of(width: int, height: int, *chunks: bytes, depth: int = 8) -> bytes:
    """A PNG of a head that claims a size, and any chunks."""
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, 0, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", head) + b"".join(chunks)
