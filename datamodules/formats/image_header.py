"""Size and EXIF orientation of an image from its header: what relative annotations need.

No pixel is decoded. Whole images are opened by `decode.py`.
"""

from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from datamodules.decode import DECODE_ERRORS, quietly

ORIENTATION_TAG = 0x0112


@dataclass(frozen=True, slots=True)
class ImageHeader:
    """The stored size in pixels, and how a viewer would turn it: EXIF's 1 (not at all) to 8."""

    width_px: int
    height_px: int
    orientation: int


def read_header(path: Path) -> ImageHeader:
    """The header of an image file.

    Raises ValueError where there is none to read, and for a link, which may lead out of the data.
    """
    if path.is_symlink():
        raise ValueError(f"{path} is a symbolic link: copy the file that it leads to")
    try:
        with quietly(), Image.open(path) as image:
            # Asked for EXIF that it lacks, Pillow would decode a whole PNG to look behind it.
            has_exif = image.format != "PNG" or "exif" in image.info
            orientation = image.getexif().get(ORIENTATION_TAG, 1) if has_exif else 1
            known = orientation if orientation in range(1, 9) else 1
            width_px, height_px = image.size
            # Of a TIFF alone, Pillow tells the size as shown.
            if image.format == "TIFF" and known >= 5:
                width_px, height_px = height_px, width_px
            return ImageHeader(width_px, height_px, known)
    except (*DECODE_ERRORS, Image.DecompressionBombError) as error:
        raise ValueError(
            f"{path} is not a readable image: it is truncated, too large or not an image; "
            "replace or remove it"
        ) from error
