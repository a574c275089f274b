"""What is done to a healthy fake data set: one file is cut, replaced, edited or linked."""

import io
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

Damage = Callable[[Path], object]
PIXELS = np.random.default_rng(7).integers(0, 255, (40, 50), dtype=np.uint8)


def put(path: str, content: bytes | np.ndarray) -> Damage:
    """Writes a file below the root, an array as an image, over what is there."""

    def act(root: Path) -> None:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        is_image = isinstance(content, np.ndarray)
        (root / path).write_bytes(image_bytes("PNG", content) if is_image else content)

    return act


def edit(path: str, old: str, new: str) -> Damage:
    """Replaces words of a text file, which must be there."""

    def act(root: Path) -> None:
        text = (root / path).read_text(encoding="utf-8-sig")
        assert old in text, f"{old!r} is not in {path}"
        (root / path).write_bytes(text.replace(old, new, 1).encode("utf-8", "surrogateescape"))

    return act


def cut(path: str, share: float) -> Damage:
    """Keeps the first part of a file."""

    def act(root: Path) -> None:
        content = (root / path).read_bytes()
        (root / path).write_bytes(content[: int(len(content) * share)])

    return act


def drop(path: str) -> Damage:
    """Removes a file."""
    return lambda root: (root / path).unlink()


def link(path: str, target: str) -> Damage:
    """Puts a symbolic link in a file's place."""

    def act(root: Path) -> None:
        (root / path).unlink(missing_ok=True)
        (root / path).symlink_to(target)

    return act


def turn_into_folder(path: str) -> Damage:
    """Puts an empty folder in a file's place."""

    def act(root: Path) -> None:
        (root / path).unlink()
        (root / path).mkdir()

    return act


def image_bytes(kind: str, pixels: np.ndarray = PIXELS) -> bytes:
    """An image file of a kind, as bytes."""
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, format=kind)
    return written.getvalue()


def png_of(width: int, height: int, *contents: bytes, depth: int = 8) -> bytes:
    """A PNG of a head that claims a size, chunks of data, and its end."""
    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([depth, 0, 0, 0, 0])
    chunks = [(b"IHDR", head), *((b"IDAT", content) for content in contents), (b"IEND", b"")]
    written = b"\x89PNG\r\n\x1a\n"
    for kind, content in chunks:
        checksum = zlib.crc32(kind + content)
        written += len(content).to_bytes(4, "big") + kind + content + checksum.to_bytes(4, "big")
    return written
