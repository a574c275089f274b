"""An image -> its fingerprint: a hash of its pixels and a small grey thumbnail; how alike two are.

Nothing here searches or decides: which images are copies is said by `duplicates.py`.
"""

import hashlib
import math
from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.decode import grey_where_equal

# At 20 px every sound cell of one product looks like the next; at 64 px a copy that was taken a
# second time, two pixels aside, does not look like its own copy any more.
THUMBNAIL_PX = 48
# Turns are counter-clockwise quarters; a mirrored image is mirrored left to right before.
TURNS = ("0", "90", "180", "270", "mirrored", "mirrored 90", "mirrored 180", "mirrored 270")


@dataclass(frozen=True, eq=False)
class Fingerprint:
    """What tells copies: `pixel_sha256` in hex, `thumbnail` (48, 48) uint8 grey."""

    pixel_sha256: str
    thumbnail: np.ndarray


@dataclass(frozen=True)
class Look:
    """One way to look at a thumbnail: a band of its detail with local contrast made equal.

    largest_ratio: how near a copy must be, in distances to the look-alikes of its product.
    smallest_background: how alike unrelated images are taken to be at least.
    certain_similarity: what is a copy whatever its product looks like.
    """

    side_px: int
    smoothing_px: float
    surround_px: float
    largest_ratio: float
    smallest_background: float
    certain_similarity: float


# The fine look tells two cells of a product apart; the broad one bears a shift of some pixels.
FINE = Look(48, 0.0, 1.0, largest_ratio=0.45, smallest_background=0.2, certain_similarity=0.98)
BROAD = Look(24, 1.0, 4.0, largest_ratio=0.1, smallest_background=0.5, certain_similarity=math.inf)


def fingerprint(image: np.ndarray) -> Fingerprint:
    """The fingerprint of a decoded image, (H, W, 3) RGB or (H, W) grey, uint8.

    The hash covers pixels and shape; RGB with three equal channels counts as grey. The
    thumbnail is squeezed to a square.
    """
    pixels = grey_where_equal(image)
    digest = hashlib.sha256(repr(pixels.shape).encode())
    digest.update(np.ascontiguousarray(pixels).data)
    grey = pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    size_px = (THUMBNAIL_PX, THUMBNAIL_PX)
    return Fingerprint(digest.hexdigest(), cv2.resize(grey, size_px, interpolation=cv2.INTER_AREA))


def turned(images: np.ndarray, turn: int) -> np.ndarray:
    """Images (..., S, S) after TURNS[turn]."""
    images = images[..., ::-1] if turn >= 4 else images
    return np.rot90(images, turn % 4, axes=(-2, -1))


def look_at(thumbnails: np.ndarray, look: Look) -> np.ndarray:
    """Thumbnails (N, 48, 48) in one look: (N, S * S) float16 rows of zero mean and unit length."""
    features = np.empty((len(thumbnails), look.side_px**2), np.float16)
    size_px = (look.side_px, look.side_px)
    for row, image in enumerate(thumbnails):
        thumbnail = image.astype(np.float32)
        if look.side_px != len(thumbnail):
            thumbnail = cv2.resize(thumbnail, size_px, interpolation=cv2.INTER_AREA)
        detail = thumbnail - cv2.GaussianBlur(thumbnail, (0, 0), look.surround_px)
        if look.smoothing_px:
            blurred = cv2.GaussianBlur(thumbnail, (0, 0), look.smoothing_px)
            detail = detail - thumbnail + blurred
        # One grey level: what is below is noise of the camera and of JPEG.
        contrast = np.sqrt(cv2.GaussianBlur(detail * detail, (0, 0), look.surround_px) + 1.0)
        equalised = (detail / contrast).ravel()
        equalised -= equalised.mean()
        features[row] = equalised / max(float(np.linalg.norm(equalised)), 1e-6)
    return features


def turned_rows(rows: np.ndarray, turn: int) -> np.ndarray:
    """Rows (N, S * S) of images after TURNS[turn], float32."""
    side_px = math.isqrt(rows.shape[1])
    images = rows.astype(np.float32).reshape(-1, side_px, side_px)
    return np.ascontiguousarray(turned(images, turn)).reshape(len(rows), -1)
