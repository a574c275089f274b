"""Sizes and orientations without decoding."""

import pytest
from PIL import Image

from datamodules.formats.image_header import ImageHeader, read_header


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("orientation", [1, 6])
def test_header_tells_the_stored_size_and_how_exif_turns_the_image(tmp_path, suffix, orientation):
    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / f"a.{suffix}", exif=exif)
    assert read_header(tmp_path / f"a.{suffix}") == ImageHeader(30, 20, orientation)


def test_pixels_of_a_png_are_not_decoded(tmp_path):
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: content.index(b"IDAT") + 6])
    assert read_header(tmp_path / "a.png").width_px == 30
