"""Sizes and orientations without decoding."""

import numpy as np
import pytest
from PIL import Image

from datamodules.formats.image_header import ImageHeader, read_header


@pytest.mark.parametrize("suffix", ["png", "jpg", "bmp", "tif", "webp"])
def test_header_tells_the_stored_size(tmp_path, suffix):
    Image.fromarray(np.zeros((20, 30), np.uint8)).convert("RGB").save(tmp_path / f"a.{suffix}")
    assert read_header(tmp_path / f"a.{suffix}") == ImageHeader(30, 20, 1)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
def test_header_tells_how_exif_turns_the_image(tmp_path, suffix):
    image = Image.new("RGB", (30, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / f"a.{suffix}", exif=exif)
    assert read_header(tmp_path / f"a.{suffix}") == ImageHeader(30, 20, 6)


def test_pixels_of_a_png_are_not_decoded(tmp_path):
    Image.new("L", (30, 20)).save(tmp_path / "a.png")
    content = (tmp_path / "a.png").read_bytes()
    (tmp_path / "a.png").write_bytes(content[: content.index(b"IDAT") + 6])
    assert read_header(tmp_path / "a.png").width_px == 30


def test_link_is_not_followed(tmp_path):
    Image.new("L", (3, 2)).save(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    with pytest.raises(ValueError, match="is a symbolic link"):
        read_header(tmp_path / "b.png")
