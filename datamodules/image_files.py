"""Picture files -> arrays: any mode to (H, W, 3) uint8, any mask to class ids.

EXIF orientation is never applied: a mask is drawn on the stored pixels, and turning only the
image would part the two.
"""

import struct
import warnings
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from datamodules.sample import GOOD_ID, MaskValues
from datamodules.vocabulary import Vocabulary

MAX_PIXELS = 100_000_000
HIGHEST_GREY = 65535
UNKNOWN = -1
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff", ".webp", ".gif")
WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, zlib.error, struct.error)


def open_image(path: Path) -> np.ndarray:
    """The picture as (H, W, 3) uint8, whatever its mode; the first frame of an animated file.

    Grey is repeated, alpha is dropped, 16-bit values above 255 keep their upper byte.
    Raises FileNotFoundError, or ValueError for an unreadable, truncated or too large file.
    """
    picture = _load(path)
    if picture.mode == "F":
        raise ValueError(
            f"{path} holds floating-point pixels, expected 8- or 16-bit ones: "
            "save it as an 8- or 16-bit PNG"
        )
    if picture.mode in WIDE_MODES:
        grey = _narrow(np.asarray(picture))
        return np.repeat(grey[:, :, None], 3, axis=2)
    return np.array(picture.convert("RGB"))


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
    outside = (grey < 0) | (grey > HIGHEST_GREY)
    ids = np.where(outside, UNKNOWN, _class_of_grey(values, vocabulary)[np.where(outside, 0, grey)])
    if (ids == UNKNOWN).any():
        unknown = np.unique(grey[ids == UNKNOWN])
        expected = ", ".join(f"{v.low}-{v.high}={v.name}" for v in values) or "only 0=good"
        raise ValueError(
            f"mask {path} holds the unknown id {unknown[0]} ({len(unknown)} unknown values), "
            f"expected {expected}: repaint the mask or name the value"
        )
    return ids.astype(np.uint8 if len(vocabulary) <= 256 else np.uint16)


def _load(path: Path) -> Image.Image:
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
            picture.load()
            return picture
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


def _grey_values(path: Path) -> np.ndarray:
    """The stored numbers of a mask, (H, W) integers: palette indices, not palette colours."""
    picture = _load(path)
    if picture.mode in ("L", "P", *WIDE_MODES):
        return np.asarray(picture)
    if picture.mode in ("1", "LA", "PA"):
        return np.asarray(picture.convert("L"))
    if picture.mode not in ("RGB", "RGBA"):
        raise ValueError(
            f"mask {path} has mode {picture.mode}, expected a grey one: "
            "save it as an 8-bit grey PNG"
        )
    channels = np.asarray(picture.convert("RGB"))
    if (channels != channels[:, :, :1]).any():
        raise ValueError(
            f"mask {path} is coloured, expected grey values or palette indices: "
            "save it as an 8-bit grey PNG with one value per class"
        )
    return channels[:, :, 0]


def _narrow(wide: np.ndarray) -> np.ndarray:
    wide = np.clip(wide, 0, 65535)
    return (wide >> 8 if wide.max(initial=0) > 255 else wide).astype(np.uint8)


def _class_of_grey(values: Sequence[MaskValues], vocabulary: Vocabulary) -> np.ndarray:
    """A look-up table from grey value to class id, UNKNOWN where no range names the value."""
    table = np.full(HIGHEST_GREY + 1, UNKNOWN, dtype=np.int32)
    table[0] = GOOD_ID
    for value in values:
        table[value.low : value.high + 1] = vocabulary.id_of(value.name)
    return table
