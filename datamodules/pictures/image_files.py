"""Picture files -> arrays: any mode to 8-bit grey or colour, any mask to class ids.

OpenCV decodes what it decodes exactly as Pillow does, Pillow everything else. EXIF orientation
is never applied on reading: a mask is drawn on the stored pixels, and turning only the image
would part the two. `exif_orientation` and `upright` are for who turns both.
"""

import struct
import warnings
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image
from PIL.TiffImagePlugin import TiffImageFile

from datamodules.pictures.quick_decoding import decode_quickly
from datamodules.sample import GOOD_ID, MaskValues
from datamodules.vocabulary import Vocabulary

MAX_PIXELS = 100_000_000
HIGHEST_GREY = 65535
WINDOW_SHARES = (0.001, 0.999)
UNKNOWN = -1
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")
WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
GREY_MODES = ("1", "L", "LA")
DECODE_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    IndexError,
    zlib.error,
    struct.error,
    cv2.error,
)
BITS_TAG, ORIENTATION_TAG = 258, 274  # of TIFF and EXIF


def open_image(path: Path) -> np.ndarray:
    """The picture as (H, W, 3) uint8, whatever its mode; the first frame of an animated file.

    Grey is repeated, alpha is dropped. Pictures with values above 255 are windowed: the values
    at WINDOW_SHARES of their pixels become 0 and 255, a flat one becomes black.
    Raises FileNotFoundError, or ValueError for an unreadable, truncated or too large file.
    """
    image = _open_eight_bits(path)
    return image if image.ndim == 3 else cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)


def open_pixels(path: Path) -> np.ndarray:
    """The picture of `open_image` as (H, W) uint8 where it has no colour, also if stored as RGB.

    Raises FileNotFoundError, or ValueError for an unreadable, truncated or too large file.
    """
    image = _open_eight_bits(path)
    if image.ndim == 2:
        return image
    few = image[::16, ::16]
    if (few != few[:, :, :1]).any():
        return image
    red, green, blue = cv2.split(image)
    is_grey = not cv2.norm(red, green, cv2.NORM_INF) and not cv2.norm(red, blue, cv2.NORM_INF)
    return red if is_grey else image


def open_mask(
    path: Path,
    values: Sequence[MaskValues],
    *,
    vocabulary: Vocabulary,
    size_px: tuple[int, int],
) -> np.ndarray:
    """The mask as (H, W) class ids, uint8 (uint16 above 256 classes).

    values: which grey values mean which class; 0 means good unless it is in a range.
    size_px: (height, width) of the image it belongs to. Raises FileNotFoundError, or ValueError
    for an unreadable file, another size than the image's, and a grey value in no range.
    """
    grey = _grey_values(path)
    if grey.shape != size_px:
        raise ValueError(
            f"mask {path} is {grey.shape[1]}x{grey.shape[0]} px, expected its image's "
            f"{size_px[1]}x{size_px[0]} px: export the mask at the image's size"
        )
    table = _class_of_grey(values, vocabulary)
    present = _present_values(grey)
    inside = (present >= 0) & (present <= HIGHEST_GREY)
    unknown = present[~inside | (table[np.where(inside, present, 0)] == UNKNOWN)]
    if unknown.size:
        expected = ", ".join(f"{v.low}-{v.high}={v.name}" for v in values) or "only 0=good"
        raise ValueError(
            f"mask {path} holds the unknown id {unknown[0]} ({len(unknown)} unknown values), "
            f"expected {expected}: repaint the mask or name the value"
        )
    if len(vocabulary) > 256:
        return table.astype(np.uint16)[grey]
    narrow = table.astype(np.uint8)
    return cv2.LUT(grey, narrow[:256]) if grey.dtype == np.uint8 else narrow[grey]


def exif_orientation(path: Path) -> int:
    """How a viewer would turn the stored pixels: EXIF's 1 (not at all) to 8; 1 where none is said.

    Raises FileNotFoundError, or ValueError for a file whose header or EXIF cannot be read.
    """
    with _opened(path) as picture:
        orientation = picture.getexif().get(ORIENTATION_TAG, 1)
    return int(orientation) if orientation in range(1, 9) else 1


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


def _open_eight_bits(path: Path) -> np.ndarray:
    """The picture as (H, W) or (H, W, 3) uint8; grey files as (H, W)."""
    pixels = decode_quickly(path, max_pixels=MAX_PIXELS)
    if pixels is None:
        pixels = _decode_with_pillow(path)
    return pixels if pixels.dtype == np.uint8 else _window(pixels, path)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """The picture with its header read and its size checked; what goes wrong is one ValueError."""
    if not path.is_file():
        raise FileNotFoundError(f"picture {path} is missing: check the data folder and the path")
    try:
        with warnings.catch_warnings():
            # Our own limit speaks in one line where Pillow would warn first.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            opened = Image.open(path)
        with opened as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise Image.DecompressionBombError
            yield picture
    except Image.DecompressionBombError as error:
        raise ValueError(
            f"{path} would unpack to more than {MAX_PIXELS // 1_000_000} megapixels: "
            "cut it into smaller pictures"
        ) from error
    except DECODE_ERRORS as error:
        reason = str(error).split("\n", maxsplit=1)[0].replace(str(path), "").replace("''", "it")
        raise ValueError(
            f"{path} is not a readable picture ({reason}): it is truncated or not an image; "
            "replace or remove it"
        ) from error


def _decode_with_pillow(path: Path) -> np.ndarray:
    """The pixels of any format and mode, strictly; values above 255 are not yet windowed."""
    with _opened(path) as picture:
        turn_back = _load(picture)
        if picture.mode == "F":
            pixels = None
        elif picture.mode in WIDE_MODES:
            pixels = np.asarray(picture)
        elif _is_wide_tiff(picture):
            # Pillow keeps only the upper bytes of wide colours; OpenCV's TIFF is always BGR.
            flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
            blue_first = cv2.imdecode(np.fromfile(path, dtype=np.uint8), flags)
            if blue_first is None:
                raise ValueError("its wide colours cannot be decoded")
            pixels = blue_first[:, :, ::-1]
        else:
            picture.info.pop("transparency", None)  # dropped anyway, and Pillow would warn
            pixels = np.array(picture.convert("L" if picture.mode in GREY_MODES else "RGB"))
    if pixels is None:
        raise ValueError(
            f"{path} holds floating-point pixels, expected 8- or 16-bit ones: "
            "save it as an 8- or 16-bit PNG"
        )
    return upright(pixels, turn_back)


def _load(picture: Image.Image) -> int:
    """The orientation that undoes the turn which loading, done here, gives to a TIFF unasked."""
    orientation = 1
    if isinstance(picture, TiffImageFile):
        orientation = picture.tag_v2.get(ORIENTATION_TAG, 1)
        # Nameless, it is not mapped into memory, where Pillow mixes up the sides of turned ones.
        picture.filename = ""
    picture.load()
    return {6: 8, 8: 6}.get(orientation, orientation if orientation in range(1, 9) else 1)


def _is_wide_tiff(picture: Image.Image) -> bool:
    return isinstance(picture, TiffImageFile) and max(picture.tag_v2.get(BITS_TAG, (8,))) > 8


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


def _grey_values(path: Path) -> np.ndarray:
    """The stored numbers of a mask, (H, W) integers: palette indices, not palette colours."""
    channels = decode_quickly(path, max_pixels=MAX_PIXELS)
    if channels is None:
        channels = _mask_channels(path)
    if channels.ndim == 2:
        return channels
    if (channels != channels[:, :, :1]).any():
        raise ValueError(
            f"mask {path} is coloured, expected grey values or palette indices: "
            "save it as an 8-bit grey PNG with one value per class"
        )
    return np.ascontiguousarray(channels[:, :, 0])


def _mask_channels(path: Path) -> np.ndarray:
    with _opened(path) as picture:
        turn_back = _load(picture)
    if picture.mode in ("L", "P", *WIDE_MODES):
        pixels = np.asarray(picture)
    elif picture.mode in ("1", "LA", "PA"):
        pixels = np.asarray(picture.convert("L"))
    elif picture.mode in ("RGB", "RGBA"):
        pixels = np.asarray(picture.convert("RGB"))
    else:
        raise ValueError(
            f"mask {path} has mode {picture.mode}, expected a grey one: "
            "save it as an 8-bit grey PNG"
        )
    return upright(pixels, turn_back)


def _present_values(grey: np.ndarray) -> np.ndarray:
    """The different values of a mask, ascending."""
    if grey.dtype == np.uint8:
        return np.flatnonzero(cv2.calcHist([grey], [0], None, [256], [0, 256]))
    return np.unique(grey)


def _class_of_grey(values: Sequence[MaskValues], vocabulary: Vocabulary) -> np.ndarray:
    """A look-up table from grey value to class id, UNKNOWN where no range names the value."""
    table = np.full(HIGHEST_GREY + 1, UNKNOWN, dtype=np.int32)
    table[0] = GOOD_ID
    for value in values:
        table[value.low : value.high + 1] = vocabulary.id_of(value.name)
    return table
