"""The ways in which a mask is written: the same square of 500 pixels in every one."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

SIZE_PX = (64, 96)
BLACK, WHITE, RED, BLUE = (0, 0, 0), (255, 255, 255), (255, 0, 0), (0, 0, 255)
Write = Callable[[np.ndarray, Path], Path]


def square(number: int = 0) -> np.ndarray:
    """(64, 96) bool, 500 pixels of them in a square."""
    inside = np.zeros(SIZE_PX, bool)
    inside[20:40, 30 + number : 55 + number] = True
    return inside


def grey(
    inside: np.ndarray,
    path: Path,
    *,
    good: int = 0,
    defect: int = 255,
    dtype: type = np.uint8,
    suffix: str = ".png",
    mode: str = "",
    **settings: object,
) -> Path:
    """A mask of two values, in a mode."""
    path = path.with_suffix(suffix)
    image = Image.fromarray(np.where(inside, dtype(defect), dtype(good)))
    (image.convert(mode) if mode else image).save(path, **settings)
    return path


def colours(
    inside: np.ndarray,
    path: Path,
    *,
    good: tuple[int, ...] = BLACK,
    defect: tuple[int, ...] = WHITE,
    suffix: str = ".png",
    mode: str = "",
    quantize: int = 0,
    **settings: object,
) -> Path:
    """A mask of two colours, with or without alpha."""
    path = path.with_suffix(suffix)
    image = Image.fromarray(np.where(inside[..., None], defect, good).astype(np.uint8))
    image = image.convert(mode) if mode else image
    (image.quantize(quantize) if quantize else image).save(path, **settings)
    return path


def palette(
    inside: np.ndarray,
    path: Path,
    *,
    good: int,
    defect: int,
    shown: list[tuple[int, ...]],
    suffix: str = ".png",
    **settings: object,
) -> Path:
    """A palette mask whose indices are shown in these colours."""
    path = path.with_suffix(suffix)
    image = Image.fromarray(np.where(inside, np.uint8(defect), np.uint8(good)))
    image.putpalette([value for colour in shown for value in colour])
    image.save(path, **settings)
    return path


def wide_colours(inside: np.ndarray, path: Path, *, suffix: str, channels: int = 3) -> Path:
    """16 bits a channel, which Pillow cannot write."""
    path = path.with_suffix(suffix)
    pixels = np.repeat(inside[..., None] * np.uint16(65535), channels, axis=2)
    cv2.imwrite(str(path), pixels)
    return path


def soft(inside: np.ndarray, path: Path) -> Path:
    """Edges blurred over some pixels."""
    path = path.with_suffix(".png")
    pixels = cv2.blur(inside * np.uint8(255), (5, 1))
    Image.fromarray(pixels).save(path)
    return path


def two_strokes(inside: np.ndarray, path: Path) -> Path:
    """A square of two halves on a transparent ground."""
    pixels = np.where(inside[..., None], (*RED, 255), (*WHITE, 0)).astype(np.uint8)
    pixels[inside & (np.arange(SIZE_PX[1]) < 45)] = (*BLUE, 255)
    Image.fromarray(pixels).save(path)
    return path


def photo(inside: np.ndarray, path: Path, *, suffix: str) -> Path:
    """The part itself in place of its mask."""
    noise = np.random.default_rng(0).integers(0, 255, (8, 12), dtype=np.uint8)
    pixels = np.where(inside, 250, cv2.resize(noise, SIZE_PX[::-1])).astype(np.uint8)
    Image.fromarray(pixels).save(path.with_suffix(suffix))
    return path.with_suffix(suffix)


def pages(inside: np.ndarray, path: Path, *, suffix: str) -> Path:
    """A file of two masks, one for each of two classes."""
    first, second = (Image.fromarray(one * np.uint8(255)) for one in (inside, ~inside))
    first.save(path.with_suffix(suffix), save_all=True, append_images=[second])
    return path.with_suffix(suffix)


def white_is_zero(inside: np.ndarray, path: Path, *, bits: int) -> Path:
    """A TIFF whose zeros are shown white."""
    path = path.with_suffix(".tif")
    # Of these Pillow turns all but 16 bits itself.
    kinds = {1: inside, 8: inside * np.uint8(255), 16: ~inside * np.uint16(65535)}
    Image.fromarray(kinds[bits]).save(path, tiffinfo={262: 0})
    return path


def classes(inside: np.ndarray, path: Path, *, first: int, second: int, thin: bool = False) -> Path:
    """A mask of two classes, the second one in its corner."""
    pixels = np.where(inside, np.uint8(first), np.uint8(0))
    pixels[5:15, 5 : 6 if thin else 15] = second if inside.any() else 0
    Image.fromarray(pixels).save(path)
    return path


SEEN: dict[str, Write] = {
    "L": grey,
    "L bmp": partial(grey, suffix=".bmp"),
    "L gif": partial(grey, suffix=".gif"),
    "1": partial(grey, mode="1"),
    "1 bmp": partial(grey, mode="1", suffix=".bmp"),
    "1 tif group 4": partial(grey, mode="1", suffix=".tif", compression="group4"),
    "LA opaque": partial(grey, mode="LA"),
    "RGB": partial(grey, mode="RGB"),
    "RGBA opaque": partial(grey, mode="RGBA"),
    "RGBX tif": partial(grey, mode="RGBX", suffix=".tif"),
    "P grey": partial(grey, mode="P"),
    "P gif": partial(colours, suffix=".gif"),
    "webp lossless": partial(colours, suffix=".webp", lossless=True),
    "0 and 1": partial(grey, defect=1),
    "0 and 3": partial(grey, defect=3),
    "5 and 10": partial(grey, good=5, defect=10),
    "100 and 200": partial(grey, good=100, defect=200),
    "150 and 250": partial(grey, good=150, defect=250),
    "0 and 128": partial(grey, defect=128),
    "I;16": partial(grey, defect=65535, dtype=np.uint16),
    "I;16 of 0 and 1": partial(grey, defect=1, dtype=np.uint16),
    "I;16 of 0 and 4000": partial(grey, defect=4000, dtype=np.uint16, suffix=".tif"),
    "I": partial(grey, defect=255, dtype=np.int32, suffix=".tif"),
    "RGB of 16 bits": partial(wide_colours, suffix=".png"),
    "RGBA of 16 bits": partial(wide_colours, suffix=".png", channels=4),
    "RGB tif of 16 bits": partial(wide_colours, suffix=".tif"),
    "jpeg": partial(grey, suffix=".jpg", quality=60),
    "jpeg of 100 and 200": partial(grey, good=100, defect=200, suffix=".jpg", quality=60),
    "jpeg of 0 and 100": partial(grey, defect=100, suffix=".jpg", quality=60),
    "jpeg RGB": partial(colours, suffix=".jpg", quality=60),
    "jpeg red": partial(colours, defect=RED, suffix=".jpg", quality=95),
    "quantized": partial(colours, quantize=2),
    "palette white first": partial(palette, good=1, defect=0, shown=[WHITE, BLACK]),
    "palette white last": partial(palette, good=7, defect=9, shown=[RED] * 7 + [BLACK, RED, WHITE]),
    "palette of 256": partial(palette, good=200, defect=3, shown=[WHITE] * 200 + [BLACK] * 56),
    "palette bmp": partial(palette, good=1, defect=0, shown=[WHITE, BLACK], suffix=".bmp"),
    "palette tif": partial(palette, good=1, defect=0, shown=[WHITE, BLACK], suffix=".tif"),
    "palette red": partial(palette, good=0, defect=1, shown=[BLACK, (128, 0, 0)]),
    "red on black": partial(colours, defect=RED),
    "blue on black": partial(colours, defect=BLUE),
    "dark blue on black": partial(colours, defect=(0, 0, 100)),
    "white is zero, 1": partial(white_is_zero, bits=1),
    "white is zero, 8": partial(white_is_zero, bits=8),
    "white is zero, 16": partial(white_is_zero, bits=16),
    "soft": soft,
    "black on nothing": partial(colours, good=(0, 0, 0, 0), defect=(0, 0, 0, 255)),
    "white on nothing": partial(colours, good=(0, 0, 0, 0), defect=(255, 255, 255, 255)),
    "black on transparent white": partial(colours, good=(255, 255, 255, 0), defect=(0, 0, 0, 255)),
    "half opaque red": partial(colours, good=(0, 0, 0, 0), defect=(255, 0, 0, 100)),
    "LA on nothing": partial(colours, good=(0, 0, 0, 0), defect=(0, 0, 0, 255), mode="LA"),
    "evenly half opaque": partial(colours, good=(0, 0, 0, 128), defect=(255, 255, 255, 128)),
    "tRNS of a palette": partial(palette, good=1, defect=0, shown=[BLACK, WHITE], transparency=1),
    "tRNS of a grey": partial(grey, transparency=0),
}
REFUSED: dict[str, tuple[Write, str]] = {
    "red on white": (partial(colours, good=WHITE, defect=RED), "255 255 255; 255 0 0"),
    "red on blue": (partial(colours, good=BLUE, defect=RED), "is coloured"),
    "palette red on white": (
        partial(palette, good=0, defect=1, shown=[WHITE, RED]),
        "is coloured (255 255 255; 255 0 0)",
    ),
    "jpeg red on white": (
        partial(colours, good=WHITE, defect=RED, suffix=".jpg", quality=60),
        "is coloured",
    ),
    "two colours on nothing": (
        two_strokes,
        "0 0 255; 255 0 0, expected strokes",
    ),
    "black ground with a hole": (
        partial(colours, good=(0, 0, 0, 255), defect=(0, 0, 0, 0)),
        "the rest is 0 0 0, expected strokes",
    ),
    "photograph": (partial(photo, suffix=".png"), "expected two"),
    "jpeg photograph": (partial(photo, suffix=".jpg"), "expected two"),
    "pages tif": (partial(pages, suffix=".tif"), "holds 2 pages"),
    "frames gif": (partial(pages, suffix=".gif"), "holds 2 pages or frames"),
    "CMYK": (partial(grey, mode="CMYK", suffix=".tif"), "mode CMYK"),
    "F": (partial(grey, mode="F", suffix=".tif"), "mode F"),
    "jpeg of 0 and 1": (
        partial(grey, defect=1, suffix=".jpg", quality=60),
        "compression has blurred",
    ),
}
IDS_SEEN: dict[str, Write] = {
    "L": partial(grey, defect=1),
    "grey palette in order": partial(palette, good=0, defect=1, shown=[BLACK, WHITE]),
    "coloured palette": partial(palette, good=0, defect=1, shown=[BLACK, (128, 0, 0)]),
    "coloured palette on white": partial(palette, good=0, defect=1, shown=[WHITE, RED]),
    "greys in odd order": partial(
        palette, good=9, defect=4, shown=[RED] * 4 + [(1, 1, 1)] + [RED] * 4 + [BLACK]
    ),
    "RGB": partial(grey, defect=1, mode="RGB"),
    "LA opaque": partial(grey, defect=1, mode="LA"),
}
IDS_REFUSED: dict[str, tuple[Write, str]] = {
    "white first": (partial(palette, good=1, defect=0, shown=[WHITE, BLACK]), "contradict"),
    "red first": (partial(palette, good=1, defect=0, shown=[RED, BLACK]), "contradict"),
    "two answers": (
        partial(palette, good=0, defect=1, shown=[BLACK, (2, 2, 2)]),
        "(0: 0 0 0; 1: 2 2 2)",
    ),
    "coloured": (partial(colours, defect=RED), "is coloured (0 0 0; 255 0 0)"),
    "hidden": (partial(grey, good=0, defect=1, transparency=1), "where it is transparent"),
    "white": (grey, "unknown id 255"),
}
