"""JPEG and PNG files -> stored pixels by OpenCV, where it gives what Pillow gives, only sooner.

In any doubt the answer is None, and `image_files.py` asks Pillow: palettes, CMYK, animations,
few bits, and all files that may be damaged, which Pillow refuses.
"""

import struct
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

JPEG_START, JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
PNG_START, PNG_END = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB`\x82"
# Baseline, extended and progressive frames; and the markers after which none can come any more.
JPEG_FRAMES, JPEG_NO_FRAME = (0xC0, 0xC1, 0xC2), (0xC3, *range(0xC5, 0xC8), *range(0xC9, 0xDB))
PNG_CHANNELS = {0: 1, 2: 3, 4: 1, 6: 3}  # by colour type, without alpha; palettes are not here


class _Header(NamedTuple):
    """What OpenCV will decode: size in pixels, 1 or 3 channels without alpha, 8 or 16 bits."""

    width: int
    height: int
    channels: int
    bits: int


def decode_quickly(path: Path, *, max_pixels: int) -> np.ndarray | None:
    """The stored pixels, (H, W) or (H, W, 3), uint8 or uint16, without alpha; None when in doubt.

    max_pixels: larger pictures are not unpacked. EXIF orientation is not applied.
    """
    if not path.is_file():
        return None
    try:
        with path.open("rb", buffering=0) as file:
            start = file.read(len(PNG_START))
            if start != PNG_START and not start.startswith(JPEG_START):
                return None
            data = start + file.read()
        header = _png_header(data) if start == PNG_START else _jpeg_header(data)
        if header is None or header.width * header.height > max_pixels:
            return None
        flags = cv2.IMREAD_GRAYSCALE if header.channels == 1 else cv2.IMREAD_COLOR_RGB
        flags |= cv2.IMREAD_IGNORE_ORIENTATION
        flags |= cv2.IMREAD_ANYDEPTH if header.bits == 16 else 0
        return cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except (OSError, struct.error, cv2.error):
        return None


def _jpeg_header(data: bytes) -> _Header | None:
    """The frame of a whole grey or three-channel JPEG, else None.

    Without its end marker a file may be cut: some OpenCV versions fill the rest with grey.
    """
    position = 2
    while data.endswith(JPEG_END) and position < len(data) and data[position] == 0xFF:
        marker, length = struct.unpack_from(">BH", data, position + 1)
        if marker in JPEG_FRAMES:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, position + 4)
            return _Header(width, height, channels, 8) if bits == 8 and channels in (1, 3) else None
        if marker in JPEG_NO_FRAME:
            return None
        position += 2 + length
    return None


def _png_header(data: bytes) -> _Header | None:
    """The size and depth of a whole, still PNG without palette, else None."""
    kind, width, height, bits, colour = struct.unpack_from(">4sIIBB", data, 12)
    if kind != b"IHDR" or bits < 8 or colour not in PNG_CHANNELS or not data.endswith(PNG_END):
        return None
    if data.find(b"acTL", 0, data.find(b"IDAT")) >= 0:
        return None  # animated: OpenCV 5 shows the animation's first frame, not the still one
    return _Header(width, height, PNG_CHANNELS[colour], bits)
