"""Bad picture and mask files in a user's own folder and in index masks."""

import io
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.datamodules.malformed.damage import (
    PIXELS,
    Case,
    cut,
    drop,
    link,
    picture,
    png_chunk,
    png_of,
    put,
)

SUFFIXES = {"PNG": "png", "JPEG": "jpg", "TIFF": "tif", "BMP": "bmp", "WEBP": "webp", "GIF": "gif"}
STRANGERS = {
    "text": b"this is no picture\n",
    "html": b"<!doctype html><html><body>404 not found</body></html>",
    "json": b'{"message": "rate limit"}',
    "git lfs pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "zip": b"PK\x03\x04" + bytes(60),
    "pdf": b"%PDF-1.7\n" + bytes(60),
    "program": b"\x7fELF" + bytes(60),
    "zeros": bytes(500),
    "noise": bytes(PIXELS[:10].tobytes()),
}
BAD = "images/crack/bad."
MASK = "annotations/training/000001.png"


def pictures() -> Iterator[Case]:
    """A user's folder with one more picture, which is bad."""
    for kind, suffix in SUFFIXES.items():
        whole = picture(kind)
        yield Case(f"{kind} of no bytes", "folder", put(BAD + suffix, b""))
        yield Case(f"{kind} of one byte", "folder", put(BAD + suffix, whole[:1]))
        for share in (0.02, 0.25, 0.5, 0.9):
            part = whole[: max(2, int(len(whole) * share))]
            yield Case(f"{kind} cut at {share:.0%}", "folder", put(BAD + suffix, part))
        yield Case(f"{kind} of text", "folder", put(BAD + suffix, STRANGERS["text"]))
    for name, content in STRANGERS.items():
        yield Case(f"{name} called PNG", "folder", put(BAD + "png", content))
        yield Case(f"{name} called JPEG", "folder", put(BAD + "jpg", content))
    yield from hostile_pictures()


def hostile_pictures() -> Iterator[Case]:
    """Pictures whose head lies, whose checksums are wrong, or whose kind cannot be shown."""
    rows = zlib.compress(bytes(51 * 40))
    end = png_chunk(b"IEND", b"")
    yield Case("PNG bomb by its head", "folder", put(BAD + "png", png_of(100_000, 100_000, end)))
    bomb = png_of(20_000, 20_000, png_chunk(b"IDAT", zlib.compress(bytes(10**6))), end)
    yield Case("PNG bomb by its data", "folder", put(BAD + "png", bomb))
    yield Case("PNG of no width", "folder", put(BAD + "png", png_of(0, 40, end)))
    yield Case("PNG of no height", "folder", put(BAD + "png", png_of(50, 0, end)))
    yield Case("PNG without data", "folder", put(BAD + "png", png_of(50, 40, end)))
    wrong = bytearray(png_of(50, 40, png_chunk(b"IDAT", rows), end))
    wrong[29] ^= 1
    yield Case("PNG with a wrong checksum", "folder", put(BAD + "png", bytes(wrong)))
    noise = png_of(50, 40, png_chunk(b"IDAT", PIXELS.tobytes()), end)
    yield Case("PNG of noise", "folder", put(BAD + "png", noise))
    yield Case("PNG of depth 3", "folder", put(BAD + "png", png_of(50, 40, end, depth=3)))
    short = png_of(50, 40, png_chunk(b"IDAT", zlib.compress(bytes(100))), end)
    yield Case("PNG with too few rows", "folder", put(BAD + "png", short))
    bmp = bytearray(picture("BMP"))
    bmp[18:26] = (60_000).to_bytes(4, "little") * 2
    yield Case("BMP bomb", "folder", put(BAD + "bmp", bytes(bmp)))
    jpeg = picture("JPEG")
    yield Case("JPEG without its end", "folder", put(BAD + "jpg", jpeg[:-2]))
    yield Case("JPEG head alone", "folder", put(BAD + "jpg", jpeg[:200]))
    size = jpeg.index(b"\xff\xc0") + 5
    huge = jpeg[:size] + b"\xff\xdc\xff\xdc" + jpeg[size + 4 :]
    yield Case("JPEG bomb", "folder", put(BAD + "jpg", huge))
    floats = PIXELS.astype(np.float32) / 255
    yield Case("TIFF of floats", "folder", put(BAD + "tif", picture("TIFF", floats)))
    not_numbers = np.full((40, 50), np.nan, np.float32)
    yield Case("TIFF of NaN", "folder", put(BAD + "tif", picture("TIFF", not_numbers)))
    wide = PIXELS.astype(np.int32) * 2**20
    yield Case("TIFF of 32 bits", "folder", put(BAD + "tif", picture("TIFF", wide)))
    strips = bytearray(picture("TIFF"))
    strips[strips.index(b"\x11\x01\x04\x00") + 2] = 11
    strange = put(BAD + "tif", bytes(strips))
    yield Case("TIFF whose strips begin at a fraction", "folder", strange)
    good = "images/good/a.png"
    yield Case("link to a picture outside", "folder", link(BAD + "png", "../../../outside.png"))
    yield Case("link to a picture inside", "folder", link(BAD + "png", "../good/a.png"))
    yield Case("good picture that is a link", "folder", link(good, "../crack/a.png"))
    line = "images/crack/two\nlines.png"
    yield Case("name of two lines", "folder", put(line, picture("PNG")))
    bell = "images/crack/bell\x07.png"
    yield Case("name with a bell", "folder", put(bell, picture("PNG")))


def masks() -> Iterator[Case]:
    """Index masks of steel strip and a user's masks, one of them bad."""
    ids = np.zeros((40, 50), np.uint8)
    for name, mask in {
        "of another width": ids[:, :49],
        "of another height": ids[:39],
        "turned": ids.T,
        "of an unknown id": ids + 9,
        "with one unknown pixel": np.where(np.arange(2000).reshape(40, 50) == 7, 200, ids),
        "in colours": np.stack([ids + 255, ids, ids], axis=2),
        "of 16 bits out of range": (ids.astype(np.uint16) + 900),
    }.items():
        content = picture("PNG", mask.astype(np.uint16 if mask.max() > 255 else np.uint8))
        yield Case(f"mask {name}", "neu_seg", put(MASK, content))
    yield Case("mask of floats", "neu_seg", put(MASK, picture("TIFF", ids.astype(np.float32))))
    inks = io.BytesIO()
    Image.new("CMYK", (50, 40)).save(inks, format="TIFF")
    yield Case("mask of CMYK", "neu_seg", put(MASK, inks.getvalue()))
    for name, content in STRANGERS.items():
        yield Case(f"mask that is {name}", "neu_seg", put(MASK, content))
    for share in (0.0, 0.3, 0.6, 0.75):
        yield Case(f"mask cut at {share:.0%}", "neu_seg", cut(MASK, share))
    yield Case("mask that is missing", "neu_seg", drop(MASK))
    yield Case("mask that is a link", "neu_seg", link(MASK, "000000.png"))
    yield Case("mask that is a link to itself", "neu_seg", link(MASK, "000001.png"))
    yield Case("mask of no picture", "folder", put("masks/crack/zzz.png", picture("PNG")))
    marked = np.full((40, 50), 255, np.uint8)
    yield Case("good part with a mark", "folder", put("masks/good/a.png", picture("PNG", marked)))
