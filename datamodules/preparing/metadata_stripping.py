"""JPEG and PNG files without their metadata, pixel for pixel as they were."""

import io
import struct
from pathlib import Path

from PIL import Image

from datamodules.decode import DECODE_ERRORS

JPEG_START = b"\xff\xd8"
PNG_START = b"\x89PNG\r\n\x1a\n"
# EXIF and XMP, IPTC, comments; JFIF, colour profiles and Adobe's colour transform stay.
JPEG_DROPPED = (0xE1, 0xED, 0xFE)
JPEG_SCAN = 0xDA
PNG_DROPPED = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME")


def strip_metadata(data: bytes, *, path: Path) -> bytes:
    """The file without EXIF, XMP, IPTC and comments; JPEG and PNG keep every coded pixel.

    Other kinds are coded anew, without loss, in their own format. ValueError for a broken file.
    """
    if data.startswith(JPEG_START):
        return _strip_jpeg(data, path)
    if data.startswith(PNG_START):
        return _strip_png(data, path)
    return _coded_anew(data, path)


def _strip_jpeg(data: bytes, path: Path) -> bytes:
    kept, place = [JPEG_START], 2
    while place + 4 <= len(data):
        marker, kind = data[place], data[place + 1]
        if marker != 0xFF:
            break
        if kind == JPEG_SCAN:
            return b"".join([*kept, data[place:]])
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        if kind not in JPEG_DROPPED:
            kept.append(data[place:end])
        place = end
    raise ValueError(f"{path} is not a readable JPEG: it has no image after its head; replace it")


def _strip_png(data: bytes, path: Path) -> bytes:
    kept, place = [PNG_START], len(PNG_START)
    while place + 12 <= len(data):
        length, kind = struct.unpack(">I4s", data[place : place + 8])
        end = place + 12 + length
        if kind not in PNG_DROPPED:
            kept.append(data[place:end])
        if kind == b"IEND":
            return b"".join(kept)
        place = end
    raise ValueError(f"{path} is not a readable PNG: it ends too early; replace it")


def _coded_anew(data: bytes, path: Path) -> bytes:
    written = io.BytesIO()
    try:
        with Image.open(io.BytesIO(data)) as image:
            bare = Image.frombytes(image.mode, image.size, image.tobytes())
            if palette := image.getpalette():
                bare.putpalette(palette)
            bare.save(written, format=image.format, **_lossless(image.format))
    except (*DECODE_ERRORS, Image.DecompressionBombError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(
            f"{path} cannot be coded without metadata ({reason}): save it as PNG"
        ) from error
    return written.getvalue()


def _lossless(kind: str | None) -> dict[str, bool]:
    return {"lossless": True} if kind == "WEBP" else {}
