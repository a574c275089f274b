"""The image files that industry has: modes, depths, TIFF, EXIF, names, damage."""

import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from datamodules import decode
from datamodules.decode import open_image, open_pixels, read_header, sha256_of
from datamodules.file_walk import image_paths

RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10
NOISE = np.random.default_rng(0).integers(0, 256, (61, 83, 4), dtype=np.uint8)
IMAGES = {
    "L": Image.fromarray(NOISE[:, :, 0]),
    "RGB": Image.fromarray(NOISE[:, :, :3]),
    "RGBA": Image.fromarray(NOISE),
    "LA": Image.merge("LA", [Image.fromarray(NOISE[:, :, i]) for i in (0, 3)]),
}


def saved(image: Image.Image, path: Path, **settings: object) -> Path:
    image.save(path, **settings)
    return path


def quickly(path: Path) -> np.ndarray | None:
    """What OpenCV gives of a file; None where it is left to Pillow."""
    with decode._opened(path) as (image, data):
        return decode._decode_by_opencv(image, data)


def pillows(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB" if "R" in image.mode else "L"))


def test_images_below_a_folder_are_found_without_what_desktops_leave(tmp_path: Path) -> None:
    for name in ("b.PNG", "a/c.tif", "a/._c.png", ".trash/d.png", "note.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert image_paths(tmp_path) == [tmp_path / "a/c.tif", tmp_path / "b.PNG"]
    assert image_paths(tmp_path / "none") == []
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert sha256_of(tmp_path / "b.PNG") == empty


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
@pytest.mark.parametrize("name", ["A B", "Kratzer größe", "划痕"])
def test_every_mode_and_name_becomes_three_channels_and_grey_one(
    mode: str, name: str, tmp_path: Path
) -> None:
    suffix = "TIF" if mode == "CMYK" else "PNG"
    path = saved(Image.fromarray(RAMP).convert("RGB").convert(mode), tmp_path / f"{name}.{suffix}")
    assert (open_image(path).shape, open_image(path).dtype) == ((4, 6, 3), np.uint8)
    assert np.array_equal(open_pixels(path), open_image(path)[:, :, 0])


def test_grey_is_kept_alpha_dropped_and_one_coloured_pixel_is_colour(tmp_path: Path) -> None:
    pixels = np.dstack([RAMP, RAMP, RAMP, np.zeros_like(RAMP)])
    image = open_image(saved(Image.fromarray(pixels), tmp_path / "a.png"))
    assert (image == RAMP[:, :, None]).all()
    pixels[1, 1, 2] += 1
    path = saved(Image.fromarray(pixels[:, :, :3]), tmp_path / "a.png")
    assert np.array_equal(open_pixels(path), pixels[:, :, :3])


@pytest.mark.parametrize("suffix", ["png", "gif", "bmp", "tif"])
def test_palette_shows_its_colours(suffix: str, tmp_path: Path) -> None:
    ids = Image.fromarray((np.arange(24) % 3).astype(np.uint8).reshape(4, 6))
    ids.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    image = open_image(saved(ids, tmp_path / f"a.{suffix}"))
    assert image[0, :3].tolist() == [[9, 9, 9], [200, 0, 0], [0, 200, 0]]


@pytest.mark.parametrize("marker", [True, False])
def test_cmyk_jpeg_keeps_its_colours(marker: bool, tmp_path: Path) -> None:
    red = Image.fromarray(np.full((16, 16, 3), (200, 40, 40), np.uint8)).convert("CMYK")
    path = saved(red, tmp_path / "a.jpg")
    content = path.read_bytes()
    start = content.index(b"\xff\xee")  # Adobe's marker; its inverted inks are common without it
    path.write_bytes(content if marker else content[:start] + content[start + 16 :])
    assert np.abs(open_image(path).astype(int) - (200, 40, 40)).max() <= 4


def flat_with_a_spot() -> np.ndarray:
    wide = np.full((100, 100), 3000, np.uint16)
    wide[7, 7] = 3400
    return wide


SPOT = np.zeros((100, 100), np.uint8)
SPOT[7, 7] = 255


@pytest.mark.parametrize("suffix", ["png", "tif"])
@pytest.mark.parametrize(
    ("wide", "shown"),
    [
        (RAMP.astype(np.uint16), RAMP),
        (np.full((4, 6), 3000, np.uint16), np.zeros((4, 6))),
        (flat_with_a_spot(), SPOT),
    ],
    ids=["up to 255", "flat", "a spot on flat ground"],
)
def test_sixteen_bits_are_windowed(
    suffix: str, wide: np.ndarray, shown: np.ndarray, tmp_path: Path
) -> None:
    assert np.array_equal(
        open_pixels(saved(Image.fromarray(wide), tmp_path / f"a.{suffix}")), shown
    )


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bits_are_stretched_between_percentiles(suffix: str, tmp_path: Path) -> None:
    wide = np.arange(2000, 12_000, dtype=np.uint16).reshape(100, 100)
    wide[0, 0], wide[0, 1] = 0, 65_535  # a dead and a hot pixel
    image = open_image(saved(Image.fromarray(wide), tmp_path / f"a.{suffix}"))[:, :, 0]
    assert np.abs(image.ravel() - np.linspace(0, 255, wide.size))[2:].max() <= 1
    assert (image[0, 0], image[0, 1]) == (0, 255)


@pytest.mark.parametrize(("suffix", "channels"), [("png", 3), ("png", 4), ("tif", 3), ("tif", 4)])
def test_wide_colours_are_windowed_alike(suffix: str, channels: int, tmp_path: Path) -> None:
    wide = np.zeros((50, 50, channels), np.uint16)
    wide[:25, :, 2], wide[:, :25, 1] = 4000, 2000  # OpenCV writes blue, green, red
    cv2.imwrite(str(tmp_path / f"a.{suffix}"), wide)
    image = open_image(tmp_path / f"a.{suffix}")
    assert [image[0, 40].tolist(), image[40, 0].tolist()] == [[255, 0, 0], [0, 128, 0]]


def test_big_endian_tiff_reads_as_little_endian(tmp_path: Path) -> None:
    wide = RAMP.astype(np.uint16) * 200
    little = Image.frombytes("I;16", (6, 4), wide.astype("<u2").tobytes())
    big = Image.frombytes("I;16B", (6, 4), wide.astype(">u2").tobytes())
    paths = saved(little, tmp_path / "little.tif"), saved(big, tmp_path / "big.tif")
    assert paths[1].read_bytes().startswith(b"MM")
    assert np.array_equal(*map(open_image, paths))


@pytest.mark.parametrize("suffix", ["tif", "gif"])
def test_first_page_or_frame_is_read(suffix: str, tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((4, 6), grey, np.uint8)) for grey in (10, 200)]
    path = saved(pages[0], tmp_path / f"a.{suffix}", save_all=True, append_images=pages[1:])
    assert (open_image(path) == 10).all()


def test_damage_behind_the_first_page_leaves_that_one_readable(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.full((4, 6), 10, np.uint8)), tmp_path / "a.tif")
    content = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", content, 4)
    (count,) = struct.unpack_from("<H", content, start)
    struct.pack_into("<I", content, start + 2 + 12 * count, 10**8)  # where a second page would be
    path.write_bytes(content)
    assert read_header(path).page_count == 2
    assert (open_image(path) == 10).all()


def test_header_is_read_without_the_pixels(tmp_path: Path) -> None:
    path = saved(IMAGES["L"], tmp_path / "a.png")
    content = path.read_bytes()
    path.write_bytes(content[: content.index(b"IDAT") + 6])
    assert read_header(path).stored_px == IMAGES["L"].size


@pytest.mark.parametrize("mode", IMAGES)
def test_opencv_reads_a_png_as_pillow_does(mode: str, tmp_path: Path) -> None:
    path = saved(IMAGES[mode], tmp_path / "a.png")
    assert np.array_equal(quickly(path), pillows(path))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_opencv_reads_a_jpeg_as_pillow_does(
    mode: str, subsampling: str, progressive: bool, tmp_path: Path
) -> None:
    comment = b"\xff\xc0\xff\xd9" * 50
    path = saved(
        IMAGES[mode],
        tmp_path / "a.jpg",
        subsampling=subsampling,
        progressive=progressive,
        comment=comment,
    )
    assert np.array_equal(quickly(path), pillows(path))


def test_opencv_keeps_sixteen_bits_and_transparent_colours(tmp_path: Path) -> None:
    wide = NOISE[:, :, 0].astype(np.uint16) * 257 - NOISE[:, :, 1]
    assert np.array_equal(quickly(saved(Image.fromarray(wide), tmp_path / "a.png")), wide)
    corner = tuple(map(int, NOISE[3, 3, :3]))
    path = saved(IMAGES["RGB"], tmp_path / "b.png", transparency=corner)
    assert np.array_equal(quickly(path), NOISE[:, :, :3])


@pytest.mark.parametrize(("mode", "suffix"), [("P", "png"), ("1", "png"), ("CMYK", "jpg")])
def test_what_opencv_reads_otherwise_is_left_to_pillow(
    mode: str, suffix: str, tmp_path: Path
) -> None:
    assert quickly(saved(IMAGES["RGB"].convert(mode), tmp_path / f"a.{suffix}")) is None


def test_still_image_of_an_animated_png_is_shown(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((8, 8), grey, np.uint8)) for grey in (10, 100, 200)]
    path = tmp_path / "a.png"
    frames[0].save(path, save_all=True, append_images=frames[1:], default_image=True)
    assert quickly(path) is None
    assert (open_image(path) == 10).all()


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_missing_file_and_one_that_is_no_image_are_one_line(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.png is missing"):
        open_image(tmp_path / "none.png")
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match="truncated or not an image") as caught:
        open_image(tmp_path / "a.png")
    assert "\n" not in str(caught.value)
    assert "BytesIO" not in str(caught.value)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_file_cut_anywhere_is_refused(suffix: str, tmp_path: Path) -> None:
    path = saved(IMAGES["RGB"].resize((16, 16)), tmp_path / f"a.{suffix}", progressive=True)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 60, 29):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="truncated or not an image"):
            open_image(path)


def test_jpeg_cut_in_its_data_is_refused_without_opencvs_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some OpenCV versions fill what is missing with grey and say nothing.
    monkeypatch.setattr("cv2.imdecode", lambda data, flags: np.zeros((61, 83, 3), np.uint8))
    path = saved(IMAGES["RGB"], tmp_path / "a.jpg")
    path.write_bytes(path.read_bytes()[:-2])
    assert quickly(path) is None


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_spoiled_file_is_never_read_in_another_way(suffix: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    path = saved(IMAGES["L"].resize((16, 16)), tmp_path / f"a.{suffix}")
    whole, compared = path.read_bytes(), 0
    for _ in range(300):
        spoiled = bytearray(whole)
        spoiled[rng.integers(len(whole) // 2)] ^= 1 << int(rng.integers(8))
        path.write_bytes(spoiled)
        try:
            pixels, expected = quickly(path), pillows(path)
        except (OSError, SyntaxError, ValueError):
            continue
        if pixels is not None:
            compared += 1
            assert np.array_equal(pixels, expected)
    assert compared or suffix == "png", "a PNG is protected by checksums"


@pytest.mark.parametrize("side_px", [11_000, 60_000])
def test_image_bomb_is_refused_before_it_unpacks(side_px: int, tmp_path: Path) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + data))
        return struct.pack(">I", len(data)) + kind + data + crc

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side_px, side_px, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(b"\0" * 1000))
    (tmp_path / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n" + header + body + chunk(b"IEND", b""))
    with pytest.raises(ValueError, match="more than 100 megapixels"):
        open_image(tmp_path / "a.png")


def test_numbers_that_no_eight_or_sixteen_bits_hold_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="floating-point pixels"):
        open_image(saved(Image.fromarray(RAMP.astype(np.float32)), tmp_path / "a.tif"))
    far = Image.fromarray(np.array([[0, 70_000]], np.int32))
    with pytest.raises(ValueError, match="from 0 to 70000, expected a range of 16 bits"):
        open_image(saved(far, tmp_path / "b.tif"))
