"""Files without metadata hold the same pixels."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from datamodules.preparing.metadata_stripping import strip_metadata

SECRET = "serial 4711"


def picture_file(kind: str) -> bytes:
    """A small picture of a kind whose metadata name a serial number."""
    pixels = np.random.default_rng(0).integers(0, 255, (20, 30, 3), dtype=np.uint8)
    picture = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x010E] = SECRET
    more: dict[str, object] = {}
    if kind == "PNG":
        more["pnginfo"] = PngImagePlugin.PngInfo()
        more["pnginfo"].add_text("Comment", SECRET)  # type: ignore[attr-defined]
    if kind == "JPEG":
        more["comment"] = SECRET
    if kind == "WEBP":
        more["lossless"] = True
    written = io.BytesIO()
    picture.save(written, format=kind, exif=exif, **more)
    return written.getvalue()


def pixels_of(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_metadata_go_and_pixels_stay(kind: str) -> None:
    data = picture_file(kind)
    bare = strip_metadata(data, path=Path("a"))
    assert SECRET.encode() in data
    assert SECRET.encode() not in bare
    assert not Image.open(io.BytesIO(bare)).getexif().get(0x010E)
    assert np.array_equal(pixels_of(bare), pixels_of(data))


def test_bitmap_without_metadata_keeps_its_pixels() -> None:
    written = io.BytesIO()
    Image.fromarray(np.arange(100, dtype=np.uint8).reshape(10, 10)).save(written, format="BMP")
    bare = strip_metadata(written.getvalue(), path=Path("a.bmp"))
    assert np.array_equal(pixels_of(bare), pixels_of(written.getvalue()))


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_file_that_ends_in_its_head_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match="replace it"):
        strip_metadata(picture_file(kind)[:40], path=Path("a"))


def test_file_that_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match="save it as PNG"):
        strip_metadata(b"hello", path=Path("a"))
