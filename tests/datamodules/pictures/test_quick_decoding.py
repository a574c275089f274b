"""Claims about OpenCV's fast reading: what it gives is what Pillow gives, else it gives nothing."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.pictures.image_files import open_image
from datamodules.pictures.quick_decoding import decode_quickly

NOISE = np.random.default_rng(0).integers(0, 256, (61, 83, 4), dtype=np.uint8)
PICTURES = {
    "L": Image.fromarray(NOISE[:, :, 0]),
    "RGB": Image.fromarray(NOISE[:, :, :3]),
    "RGBA": Image.fromarray(NOISE),
    "LA": Image.merge("LA", [Image.fromarray(NOISE[:, :, i]) for i in (0, 3)]),
}


def quickly(path: Path) -> np.ndarray | None:
    return decode_quickly(path, max_pixels=10_000)


@pytest.mark.parametrize("mode", PICTURES)
def test_png_is_read_as_pillow_reads_it(mode: str, tmp_path: Path) -> None:
    PICTURES[mode].save(tmp_path / "a.png")
    pixels = quickly(tmp_path / "a.png")
    assert np.array_equal(pixels, np.asarray(PICTURES[mode].convert("RGB" if "R" in mode else "L")))


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpeg_is_read_as_pillow_reads_it(
    mode: str, subsampling: str, progressive: bool, tmp_path: Path
) -> None:
    path = tmp_path / "a.jpg"
    PICTURES[mode].save(path, subsampling=subsampling, progressive=progressive)
    with Image.open(path) as picture:
        assert np.array_equal(quickly(path), np.asarray(picture))


def test_sixteen_bit_png_keeps_its_numbers(tmp_path: Path) -> None:
    wide = NOISE[:, :, 0].astype(np.uint16) * 257 - NOISE[:, :, 1]
    Image.fromarray(wide).save(tmp_path / "a.png")
    assert np.array_equal(quickly(tmp_path / "a.png"), wide)


def test_transparent_colour_is_a_colour(tmp_path: Path) -> None:
    PICTURES["RGB"].save(tmp_path / "a.png", transparency=tuple(map(int, NOISE[3, 3, :3])))
    assert np.array_equal(quickly(tmp_path / "a.png"), NOISE[:, :, :3])


def test_comment_in_front_of_the_frame_is_skipped(tmp_path: Path) -> None:
    PICTURES["L"].save(tmp_path / "a.jpg", comment=b"\xff\xc0\xff\xd9" * 50, icc_profile=b"x" * 99)
    assert quickly(tmp_path / "a.jpg") is not None


@pytest.mark.parametrize("mode", ["P", "1"])
def test_palettes_and_few_bits_are_left_to_pillow(mode: str, tmp_path: Path) -> None:
    PICTURES["RGB"].convert(mode).save(tmp_path / "a.png")
    assert quickly(tmp_path / "a.png") is None


def test_cmyk_jpeg_is_left_to_pillow(tmp_path: Path) -> None:
    PICTURES["RGB"].convert("CMYK").save(tmp_path / "a.jpg")
    assert quickly(tmp_path / "a.jpg") is None


def test_still_picture_of_an_animated_png_is_shown(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((8, 8), grey, np.uint8)) for grey in (10, 100, 200)]
    path = tmp_path / "a.png"
    frames[0].save(path, save_all=True, append_images=frames[1:], default_image=True)
    assert quickly(path) is None
    assert (open_image(path) == 10).all()


def test_larger_picture_is_not_unpacked(tmp_path: Path) -> None:
    PICTURES["L"].save(tmp_path / "a.png")
    assert decode_quickly(tmp_path / "a.png", max_pixels=61 * 83 - 1) is None


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("progressive", [False, True])
def test_file_cut_anywhere_is_refused(suffix: str, progressive: bool, tmp_path: Path) -> None:
    path = tmp_path / f"a.{suffix}"
    PICTURES["RGB"].resize((16, 16)).save(path, progressive=progressive)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 60, 7):
        path.write_bytes(whole[:length])
        assert quickly(path) is None
        with pytest.raises(ValueError, match="truncated or not an image"):
            open_image(path)


def test_jpeg_cut_in_its_data_is_refused_without_opencvs_help(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Some OpenCV versions fill what is missing with grey and say nothing.
    monkeypatch.setattr("cv2.imdecode", lambda data, flags: np.zeros((61, 83, 3), np.uint8))
    PICTURES["RGB"].save(tmp_path / "a.jpg")
    content = (tmp_path / "a.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(content[:-2])
    assert quickly(tmp_path / "a.jpg") is None


def pillows(path: Path) -> np.ndarray | None:
    try:
        with Image.open(path) as picture:
            return np.asarray(picture)
    except (OSError, SyntaxError, ValueError):
        return None


@pytest.mark.parametrize("suffix", ["jpg", "png"])
def test_spoiled_file_is_never_read_in_another_way(suffix: str, tmp_path: Path) -> None:
    path, rng = tmp_path / f"a.{suffix}", np.random.default_rng(1)
    PICTURES["L"].resize((16, 16)).save(path)
    whole, compared = path.read_bytes(), 0
    for _ in range(300):
        spoiled = bytearray(whole)
        spoiled[rng.integers(len(whole) // 2)] ^= 1 << int(rng.integers(8))
        path.write_bytes(spoiled)
        pixels, expected = quickly(path), pillows(path)
        if pixels is not None and expected is not None:
            compared += 1
            assert np.array_equal(pixels, expected)
    assert compared or suffix == "png", "a PNG is protected by checksums"
