"""Image files -> arrays: any format and mode to 8-bit grey or colour.

OpenCV decodes what it decodes exactly as Pillow does, only sooner; Pillow everything else. Every
image and mask is read as a viewer shows it, turned as its EXIF says; what was drawn on the stored
pixels is turned alike by `preparing/frames.py`. What a mask means is `masks.py`.
"""

import hashlib
import io
import re
import struct
import threading
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import PREFIXES, TiffImageFile

from datamodules.tiff_parts import part_of

MAX_PIXELS = 100_000_000
HIGHEST_GREY = 65535
WINDOW_SHARES = (0.001, 0.999)
WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
GREY_MODES = ("1", "L", "LA")
MASK_MODES = ("P", "PA", "RGB", "RGBA", "RGBX", *GREY_MODES, *WIDE_MODES)
LOSSY_FORMATS = ("JPEG", "MPO", "WEBP", "AVIF", "JPEG2000")
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    LookupError,
    TypeError,
    ZeroDivisionError,
    zlib.error,
    struct.error,
    cv2.error,
)
BITS_TAG, POLARITY_TAG, ORIENTATION_TAG = 258, 262, 274  # of TIFF and EXIF
# The end of a file that was not cut: some OpenCV versions fill what is missing with grey.
LAST_BYTES = {"JPEG": b"\xff\xd9", "PNG": b"IEND\xaeB`\x82"}
# Pillow's names for what OpenCV reads alike, alpha left out.
RAW_GREY = ("L", "LA", "I;16B", "LA;16B")
RAW_COLOUR = ("RGB", "RGBA", "RGB;16B", "RGBA;16B")
_ONE_THREAD = threading.Lock()


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The (width, height) as stored, and how a viewer turns it: EXIF's 1 (not at all) to 8.

    page_count: pages or frames, of which the first is read; 1 of a stereo camera's MPO.
    """

    stored_px: tuple[int, int]
    orientation: int
    page_count: int = 1

    @property
    def is_large(self) -> bool:
        """Whether the image is too large to be opened whole."""
        return self.stored_px[0] * self.stored_px[1] > MAX_PIXELS

    @property
    def shown_px(self) -> tuple[int, int]:
        """The size that a viewer shows, (width, height)."""
        return self.stored_px[::-1] if self.orientation >= 5 else self.stored_px


class StoredPixels(NamedTuple):
    """pixels: (H, W) numbers or (H, W, 3) colours; palette: (256, 3), the colours of the numbers.

    alpha: (H, W), 0 where nothing is seen, None of a file without transparency. is_lossy: its
    format keeps values only nearly.
    """

    pixels: np.ndarray
    palette: np.ndarray | None
    alpha: np.ndarray | None
    is_lossy: bool


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's bytes in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_header(path: Path) -> ImageHeader:
    """The header of an image file, without a pixel.

    Raises FileNotFoundError, or ValueError where there is none to read.
    """
    with _readable(path), quietly(), path.open("rb") as file:
        is_tiff = file.read(4) in PREFIXES
        file.seek(0)
        # Pillow opens no image of 180 megapixels; of a TIFF, parts can be read.
        image = TiffImageFile(file) if is_tiff else Image.open(file)
        orientation = _orientation_of(image)
        # Of a TIFF alone, Pillow tells the size as shown.
        is_swapped = is_tiff and orientation >= 5
        size_px = image.size[::-1] if is_swapped else image.size
        return ImageHeader(size_px, orientation, _page_count(image))


def _page_count(image: Image.Image) -> int:
    """Pages or frames, 1 of a stereo camera's MPO; 2 where what follows the first is damaged."""
    try:
        return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    except DECODE_ERRORS:  # the first is readable all the same
        return 2


def open_image(path: Path) -> np.ndarray:
    """The image as (H, W, 3) uint8, whatever its mode; the first frame of an animated file.

    Grey is repeated, alpha is dropped. Images with values above 255 are windowed: the values
    at WINDOW_SHARES of their pixels become 0 and 255, a flat one becomes black.
    Raises FileNotFoundError, or ValueError for an unreadable, truncated or too large file.
    """
    image = open_pixels(path)
    return image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)


def open_pixels(path: Path, window_xywh_px: tuple[int, ...] = ()) -> np.ndarray:
    """The image of `open_image` as (H, W) uint8 where it has no colour, also if stored as RGB.

    window_xywh_px: of a TIFF that is too large only these pixels, decoded with little more.
    Raises FileNotFoundError, or ValueError for an unreadable, truncated or too large file.
    """
    part = None
    if window_xywh_px:
        with _readable(path), quietly():
            part = part_of(path, window_xywh_px)
    with _opened(path, part.data if part else b"") as (image, data):
        turn = turn_of(image)
        pixels = _decode_by_opencv(image, data)
        if pixels is None and image.mode != "F":
            pixels = _decode_by_pillow(image, data)
    if pixels is None:
        raise ValueError(
            f"{path} holds floating-point pixels, expected 8- or 16-bit ones: "
            "save it as an 8- or 16-bit PNG"
        )
    pixels = part.window_of(pixels) if part else upright(pixels, turn)
    return grey_where_equal(pixels if pixels.dtype == np.uint8 else _window(pixels, path))


def open_stored(path: Path) -> StoredPixels:
    """What a mask's file stores, before anyone says what it means (`masks.py`).

    Raises FileNotFoundError, or ValueError for an unreadable file or a mode that masks never have.
    """
    with _opened(path) as (image, data):
        page_count = getattr(image, "n_frames", 1)
        stored = stored_of(image, data)
    if page_count > 1:
        raise ValueError(
            f"mask {path} holds {page_count} pages or frames, expected one: save it as one"
        )
    if stored is None:
        raise ValueError(
            f"mask {path} has mode {image.mode}, expected a grey one: save it as an 8-bit grey PNG"
        )
    return stored


def stored_of(image: ImageFile, data: bytes) -> StoredPixels | None:
    """What an opened mask and its file's bytes store; None for a mode that masks never have."""
    if image.mode not in MASK_MODES:
        return None
    turn, alpha, palette = turn_of(image), None, None
    pixels = _decode_by_opencv(image, data)
    if image.has_transparency_data and image.mode not in WIDE_MODES:
        alpha = upright(np.asarray(image.convert("RGBA").getchannel("A")), turn)
    if image.mode in ("P", "PA"):
        pixels, palette = np.asarray(image.getchannel(0)), np.zeros((256, 3), dtype=np.uint8)
        colours = np.array(image.getpalette("RGB") or [], dtype=np.uint8).reshape(-1, 3)
        palette[: len(colours)] = colours
    elif pixels is None:
        pixels = _decode_by_pillow(image, data)
    return StoredPixels(upright(pixels, turn), palette, alpha, image.format in LOSSY_FORMATS)


def grey_where_equal(image: np.ndarray) -> np.ndarray:
    """The image as (H, W) where its three channels are equal, else as it is."""
    few = image[::16, ::16]
    if image.ndim == 2 or (few != few[:, :, :1]).any():
        return image
    red, green, blue = cv2.split(image)
    is_grey = not cv2.norm(red, green, cv2.NORM_INF) and not cv2.norm(red, blue, cv2.NORM_INF)
    return red if is_grey else image


def upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """The image or mask, (H, W) or (H, W, 3), turned as EXIF's orientation 1..8 asks."""
    if orientation not in range(1, 9):
        raise ValueError(f"orientation is {orientation}: expected one of EXIF's 1 to 8")
    if orientation >= 5:
        image = image.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return np.ascontiguousarray(image)


@contextmanager
def quietly() -> Iterator[None]:
    """Pillow without its warnings: what is wrong with a file is said once, in a line of ours.

    Filters belong to the process, so threads take turns: one would end another's silence.
    """
    with _ONE_THREAD, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


@contextmanager
def _opened(path: Path, data: bytes = b"") -> Iterator[tuple[ImageFile, bytes]]:
    """The image with its header read and its size checked, and the file's bytes, unless given."""
    with _readable(path):
        data = data or path.read_bytes()
        with quietly():
            # From memory: of a mapped file, Pillow mixes up the sides of turned TIFFs.
            opened = Image.open(io.BytesIO(data))
        with opened as image:
            if image.width * image.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            yield image, data


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What goes wrong with a file is one FileNotFoundError or ValueError of one line."""
    if not path.is_file():
        raise FileNotFoundError(f"image {path} is missing: check the data folder and the path")
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path} would unpack to more than {MAX_PIXELS // 1_000_000} megapixels: cut it into "
            "smaller images, or prepare it, uncopied, with a small --tile_px as a TIFF of 8 bits "
            "in strips or tiles"
        ) from error
    except DECODE_ERRORS as error:
        reason = str(error).split("\n", maxsplit=1)[0].replace(str(path), "").replace("''", "it")
        reason = re.sub(r"<_io.BytesIO[^>]*>", "it", reason)
        raise ValueError(
            f"{path} is not a readable image ({reason}): it is truncated or not an image; "
            "replace or remove it"
        ) from error


def _decode_by_opencv(image: ImageFile, data: bytes) -> np.ndarray | None:
    """The stored pixels, (H, W) or (H, W, 3), uint8 or uint16, without alpha; None when in doubt.

    In doubt are palettes, CMYK, animations, few bits, and files that may be damaged.
    """
    if not data.endswith(LAST_BYTES.get(image.format or "", b"?")) or not image.tile:
        return None
    # OpenCV 5 shows an animated PNG's first frame, not the still one.
    raw = image.tile[0].args if image.format == "PNG" else image.mode
    if raw not in RAW_GREY + RAW_COLOUR or getattr(image, "is_animated", False):
        return None
    flags = cv2.IMREAD_GRAYSCALE if raw in RAW_GREY else cv2.IMREAD_COLOR_RGB
    flags |= cv2.IMREAD_IGNORE_ORIENTATION
    flags |= cv2.IMREAD_ANYDEPTH if raw.endswith(";16B") else 0
    try:
        return cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error:
        return None


def _decode_by_pillow(image: Image.Image, data: bytes) -> np.ndarray:
    """The pixels of any format and mode, strictly; values above 255 are not yet windowed."""
    image.load()
    if image.mode in WIDE_MODES:
        pixels = np.asarray(image)
        if image.mode != "I" and getattr(image, "tag_v2", {}).get(POLARITY_TAG) == 0:
            pixels = HIGHEST_GREY - pixels  # white is zero, which Pillow knows of fewer bits only
    elif isinstance(image, TiffImageFile) and max(image.tag_v2.get(BITS_TAG, (8,))) > 8:
        # Pillow keeps only the upper bytes of wide colours; OpenCV's TIFF is always BGR.
        flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
        blue_first = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
        if blue_first is None:
            raise ValueError("its wide colours cannot be decoded")
        pixels = blue_first[:, :, ::-1]
    else:
        image.info.pop("transparency", None)  # dropped anyway, and Pillow would warn
        pixels = np.array(image.convert("L" if image.mode in GREY_MODES else "RGB"))
    return pixels


def turn_of(image: Image.Image) -> int:
    """How decoded pixels are still to be turned, 1 to 8: of TIFF, decoders do it unasked."""
    return 1 if isinstance(image, TiffImageFile) else _orientation_of(image)


def _orientation_of(image: Image.Image) -> int:
    """EXIF's orientation, 1 to 8; 1 where there is none or none that is readable."""
    try:
        if isinstance(image, TiffImageFile):
            exif = image.getexif()
        else:
            exif = Image.Exif()
            exif.load(image.info.get("exif") or _late_exif(image))
        orientation = exif.get(ORIENTATION_TAG, 1)
    except DECODE_ERRORS:
        return 1
    return orientation if orientation in range(1, 9) else 1


def _late_exif(image: Image.Image) -> bytes:
    """The EXIF that a PNG holds behind its pixels: Pillow sees it only once these are decoded."""
    file = image.fp if isinstance(image, PngImageFile) else None
    if file is None:
        return b""
    start = file.tell()
    file.seek(8)
    # Each chunk has a length, a name, its data and four bytes more.
    while len(head := file.read(8)) == 8 and head[4:] != b"eXIf":
        file.seek(file.tell() + int.from_bytes(head[:4], "big") + 4)
    exif = file.read(int.from_bytes(head[:4], "big")) if head[4:] == b"eXIf" else b""
    file.seek(start)
    return exif


def _window(wide: np.ndarray, path: Path) -> np.ndarray:
    """Integers as uint8: up to 255 as they are, else stretched between WINDOW_SHARES of them."""
    lowest, highest = int(wide.min()), int(wide.max())
    if lowest >= 0 and highest <= 255:
        return wide.astype(np.uint8)
    if highest - lowest > HIGHEST_GREY:
        raise ValueError(
            f"{path} holds values from {lowest} to {highest}, expected a range of 16 bits: "
            "save it as an 8- or 16-bit PNG"
        )
    values = (wide - lowest).astype(np.uint16)
    edges = [0, HIGHEST_GREY + 1]
    counts = cv2.calcHist([values.reshape(len(values), -1)], [0], None, edges[1:], edges)
    at_most = np.cumsum(counts, dtype=np.float64)
    low, high = np.searchsorted(at_most, np.array(WINDOW_SHARES) * values.size)
    if low == high:
        # All but a few pixels are equal, and those few may be the defect.
        low, high = 0, max(highest - lowest, 1)
    levels = (np.arange(HIGHEST_GREY + 1) - low) * (255 / (high - low))
    return np.clip(levels, 0, 255).round().astype(np.uint8)[values]
