"""Claims about the picture files that industry has: modes, depths, TIFF, EXIF, names."""

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageOps

from datamodules.pictures.image_files import exif_orientation, open_image, open_pixels, upright

RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
NOISE = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)


def saved(picture: Image.Image, path: Path) -> Path:
    picture.save(path)
    return path


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_mode_becomes_three_channels(mode: str, tmp_path: Path) -> None:
    suffix = "tif" if mode == "CMYK" else "png"
    path = saved(Image.fromarray(RAMP).convert("RGB").convert(mode), tmp_path / f"a.{suffix}")
    image = open_image(path)
    assert image.shape == (4, 6, 3)
    assert image.dtype == np.uint8


def test_grey_values_are_kept(tmp_path: Path) -> None:
    image = open_image(saved(Image.fromarray(RAMP), tmp_path / "a.png"))
    assert (image == RAMP[:, :, None]).all()


def test_alpha_is_dropped(tmp_path: Path) -> None:
    pixels = np.dstack([RAMP, RAMP, RAMP, np.zeros_like(RAMP)])
    image = open_image(saved(Image.fromarray(pixels), tmp_path / "a.png"))
    assert (image == RAMP[:, :, None]).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_up_to_255_are_kept(suffix: str, tmp_path: Path) -> None:
    wide = Image.fromarray(RAMP.astype(np.uint16))
    assert (open_image(saved(wide, tmp_path / f"a.{suffix}"))[:, :, 0] == RAMP).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_stretched_between_percentiles(suffix: str, tmp_path: Path) -> None:
    wide = np.arange(2000, 12_000, dtype=np.uint16).reshape(100, 100)
    wide[0, 0], wide[0, 1] = 0, 65_535  # a dead and a hot pixel
    image = open_image(saved(Image.fromarray(wide), tmp_path / f"a.{suffix}"))[:, :, 0]
    assert np.abs(image.ravel() - np.linspace(0, 255, wide.size))[2:].max() <= 1
    assert (image[0, 0], image[0, 1]) == (0, 255)


def test_flat_sixteen_bit_picture_is_black(tmp_path: Path) -> None:
    flat = Image.fromarray(np.full((4, 6), 3000, np.uint16))
    assert open_image(saved(flat, tmp_path / "a.png")).max() == 0


def test_few_pixels_on_a_flat_sixteen_bit_ground_stay_visible(tmp_path: Path) -> None:
    wide = np.full((100, 100), 3000, np.uint16)
    wide[7, 7] = 3400
    image = open_image(saved(Image.fromarray(wide), tmp_path / "a.png"))[:, :, 0]
    assert np.argwhere(image == 255).tolist() == [[7, 7]]
    assert np.count_nonzero(image) == 1


def test_big_endian_tiff_reads_as_little_endian(tmp_path: Path) -> None:
    wide = RAMP.astype(np.uint16) * 200
    written = [
        open_image(saved(Image.frombytes(mode, (6, 4), wide.astype(kind).tobytes()), path))
        for mode, kind, path in (
            ("I;16", "<u2", tmp_path / "little.tif"),
            ("I;16B", ">u2", tmp_path / "big.tif"),
        )
    ]
    assert (tmp_path / "big.tif").read_bytes().startswith(b"MM")
    assert np.array_equal(*written)


@pytest.mark.parametrize(("suffix", "channels"), [("png", 3), ("png", 4), ("tif", 3), ("tif", 4)])
def test_wide_colours_are_windowed_alike(suffix: str, channels: int, tmp_path: Path) -> None:
    wide = np.zeros((50, 50, channels), np.uint16)
    wide[:25, :, 2], wide[:, :25, 1] = 4000, 2000  # OpenCV writes blue, green, red
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), wide)
    image = open_image(tmp_path / f"a.{suffix}")
    assert [image[0, 40].tolist(), image[40, 0].tolist()] == [[255, 0, 0], [0, 128, 0]]


def test_values_beyond_sixteen_bits_are_refused(tmp_path: Path) -> None:
    far = Image.fromarray(np.array([[0, 70_000]], np.int32))
    with pytest.raises(ValueError, match="from 0 to 70000, expected a range of 16 bits"):
        open_image(saved(far, tmp_path / "a.tif"))


def test_first_frame_of_an_animation_is_read(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((4, 6), grey, np.uint8)) for grey in (0, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    assert open_image(tmp_path / "a.gif").max() == 0


def turned(orientation: int, path: Path) -> Path:
    """A lossless file of NOISE that viewers turn as EXIF's orientation asks."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(NOISE).save(path, exif=exif, lossless=True)
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_grey_tiff_is_read_as_stored(orientation: int, tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    for name, grey in (("a.tif", NOISE[:, :, 0]), ("b.tif", NOISE[:, :, 0].astype(np.uint16))):
        Image.fromarray(grey).save(tmp_path / name, exif=exif)
        assert np.array_equal(open_pixels(tmp_path / name), NOISE[:, :, 0])


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turn_is_told_and_not_applied(orientation: int, suffix: str, tmp_path: Path) -> None:
    path = turned(orientation, tmp_path / f"a.{suffix}")
    assert np.array_equal(open_image(path), NOISE)
    assert exif_orientation(path) == orientation


def test_exif_turn_of_a_jpeg_is_not_applied(tmp_path: Path) -> None:
    path = turned(6, tmp_path / "a.jpg")
    assert open_image(path).shape == NOISE.shape
    assert exif_orientation(path) == 6


@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright_picture_is_what_viewers_show(orientation: int, tmp_path: Path) -> None:
    with Image.open(turned(orientation, tmp_path / "a.png")) as picture:
        shown = np.asarray(ImageOps.exif_transpose(picture))
    assert np.array_equal(upright(NOISE, orientation), shown)
    assert np.array_equal(upright(NOISE[:, :, 0], orientation), shown[:, :, 0])


def test_file_without_exif_is_upright(tmp_path: Path) -> None:
    assert exif_orientation(saved(Image.fromarray(RAMP), tmp_path / "a.bmp")) == 1
    with pytest.raises(ValueError, match="orientation is 9: expected"):
        upright(RAMP, 9)


@pytest.mark.parametrize("marker", [True, False])
def test_cmyk_jpeg_keeps_its_colours(marker: bool, tmp_path: Path) -> None:
    red = Image.fromarray(np.full((16, 16, 3), (200, 40, 40), np.uint8)).convert("CMYK")
    path = saved(red, tmp_path / "a.jpg")
    content = path.read_bytes()
    start = content.index(b"\xff\xee")  # Adobe's marker; its inverted inks are common without it
    path.write_bytes(content if marker else content[:start] + content[start + 16 :])
    assert np.abs(open_image(path).astype(int) - (200, 40, 40)).max() <= 4


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
def test_palette_shows_its_colours(suffix: str, tmp_path: Path) -> None:
    ids = (np.arange(24) % 3).astype(np.uint8).reshape(4, 6)
    picture = Image.fromarray(ids)
    picture.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    image = open_image(saved(picture, tmp_path / f"a.{suffix}"))
    assert image[0, :3].tolist() == [[9, 9, 9], [200, 0, 0], [0, 200, 0]]


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"])
@pytest.mark.parametrize("mode", ["1", "L", "RGB", "I;16"])
def test_tiff_is_read_in_every_compression(compression: str, mode: str, tmp_path: Path) -> None:
    picture = Image.fromarray(RAMP)
    picture = picture.convert(mode) if mode != "I;16" else Image.fromarray(RAMP.astype(np.uint16))
    path = tmp_path / "a.tif"
    picture.save(path, compression=compression)
    expected = np.asarray(picture.convert("L")) if mode == "1" else RAMP
    assert (open_image(path) == expected[:, :, None]).all()


def tiled_tiff(grey: np.ndarray, order: str) -> bytes:
    """An uncompressed TIFF of 16 x 16 px tiles; order: "<" little-endian or ">" big-endian."""
    height, width = grey.shape
    padded = np.pad(grey, ((0, -height % 16), (0, -width % 16)))
    tiles = [
        padded[y : y + 16, x : x + 16] for y in range(0, height, 16) for x in range(0, width, 16)
    ]
    count, first = len(tiles), 8 + 2 + 9 * 12 + 4
    offsets = [first + 8 * count + 256 * index for index in range(count)]
    tags = ((256, width), (257, height), (258, 8), (259, 1), (262, 1), (322, 16), (323, 16))
    entries = [struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags]
    entries += [struct.pack(f"{order}HHII", 324, 4, count, first)]
    entries += [struct.pack(f"{order}HHII", 325, 4, count, first + 4 * count)]
    head = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}HIH", 42, 8, len(entries))
    lists = struct.pack(f"{order}{2 * count}I", *offsets, *[256] * count)
    return head + b"".join(entries) + bytes(4) + lists + b"".join(tile.tobytes() for tile in tiles)


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiled_tiff_is_put_together(order: str, tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 256, (40, 50), dtype=np.uint8)
    (tmp_path / "a.tif").write_bytes(tiled_tiff(grey, order))
    assert (open_image(tmp_path / "a.tif")[:, :, 0] == grey).all()


def test_first_page_of_a_tiff_is_read(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((4, 6), grey, np.uint8)) for grey in (10, 200)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    assert (open_image(tmp_path / "a.tif") == 10).all()


@pytest.mark.parametrize("name", ["A B.PNG", "Kratzer größe.JPG", "划痕.TIFF", "a.WebP", "ab .BMP"])
def test_any_name_is_opened(name: str, tmp_path: Path) -> None:
    assert open_image(saved(Image.fromarray(RAMP), tmp_path / name)).shape == (4, 6, 3)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "RGB", "RGBA", "I;16"])
def test_grey_pictures_have_one_channel(mode: str, tmp_path: Path) -> None:
    grey = Image.fromarray(RAMP.astype(np.uint16)) if mode == "I;16" else Image.fromarray(RAMP)
    path = saved(grey if mode == "I;16" else grey.convert(mode), tmp_path / "a.png")
    assert np.array_equal(open_pixels(path), open_image(path)[:, :, 0])


def test_one_coloured_pixel_makes_a_colour_picture(tmp_path: Path) -> None:
    pixels = np.repeat(RAMP[:, :, None], 3, axis=2)
    pixels[1, 1, 2] += 1
    assert np.array_equal(open_pixels(saved(Image.fromarray(pixels), tmp_path / "a.png")), pixels)
