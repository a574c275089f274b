"""Claims about reading masks of any mode, and about bad pictures."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.pictures.image_files import open_image, open_mask
from datamodules.sample import MaskValues
from datamodules.vocabulary import Vocabulary

NAMES = Vocabulary.from_names(["crack", "stain"])
VALUES = (MaskValues(1, 1, "crack"), MaskValues(2, 2, "stain"))
RAMP = np.arange(24, dtype=np.uint8).reshape(4, 6) * 10


def saved(picture: Image.Image, path: Path) -> Path:
    picture.save(path)
    return path


def read_mask(path: Path, values: tuple[MaskValues, ...] = VALUES) -> np.ndarray:
    return open_mask(path, values, vocabulary=NAMES, size_px=(4, 6))


def test_missing_picture_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.png is missing"):
        open_image(tmp_path / "none.png")


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "bmp"])
def test_truncated_picture_is_one_line(suffix: str, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = saved(Image.fromarray(noise), tmp_path / f"a.{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ValueError, match="not a readable picture") as caught:
        open_image(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_file_that_is_no_picture_is_one_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(content)
    with pytest.raises(ValueError, match="truncated or not an image") as caught:
        open_image(tmp_path / "a.png")
    assert "\n" not in str(caught.value)


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


def test_floating_point_picture_is_refused(tmp_path: Path) -> None:
    path = saved(Image.fromarray(RAMP.astype(np.float32)), tmp_path / "a.tif")
    with pytest.raises(ValueError, match="floating-point pixels"):
        open_image(path)


@pytest.mark.parametrize("mode", ["L", "P", "RGB", "I;16"])
def test_mask_ids_are_exact_in_every_mode(mode: str, tmp_path: Path) -> None:
    ids = (np.arange(24) % 3).astype(np.uint8).reshape(4, 6)
    picture = {
        "L": lambda: Image.fromarray(ids),
        "P": lambda: _with_palette(ids),
        "RGB": lambda: Image.fromarray(np.repeat(ids[:, :, None], 3, axis=2)),
        "I;16": lambda: Image.fromarray(ids.astype(np.uint16)),
    }[mode]()
    assert (read_mask(saved(picture, tmp_path / "m.png")) == ids).all()


def _with_palette(ids: np.ndarray) -> Image.Image:
    picture = Image.fromarray(ids)
    picture.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    return picture


def test_one_bit_mask_is_zero_and_255(tmp_path: Path) -> None:
    mask = Image.fromarray(RAMP > 100)
    ids = read_mask(saved(mask, tmp_path / "m.png"), (MaskValues(255, 255, "stain"),))
    assert (ids == (RAMP > 100) * 2).all()


def test_soft_mask_is_cut_by_its_ranges(tmp_path: Path) -> None:
    soft = (MaskValues(0, 127, "good"), MaskValues(128, 255, "crack"))
    ids = read_mask(saved(Image.fromarray(RAMP), tmp_path / "m.png"), soft)
    assert (ids == (RAMP > 127)).all()


def test_many_classes_need_sixteen_bits(tmp_path: Path) -> None:
    names = Vocabulary.from_names([f"type {number}" for number in range(300)])
    path = saved(Image.fromarray(np.full((4, 6), 7, np.uint16)), tmp_path / "m.png")
    ids = open_mask(path, [MaskValues(7, 7, "type 299")], vocabulary=names, size_px=(4, 6))
    assert ids.dtype == np.uint16
    assert ids.max() == 300


def test_mask_of_another_size_says_both_sizes(tmp_path: Path) -> None:
    path = saved(Image.fromarray(np.zeros((4, 7), np.uint8)), tmp_path / "m.png")
    with pytest.raises(ValueError, match="is 7x4 px, expected its image's 6x4 px"):
        read_mask(path)


@pytest.mark.parametrize("value", [3, 255, 70_000, -5])
def test_unknown_id_is_named(value: int, tmp_path: Path) -> None:
    mask = np.zeros((4, 6), np.int32)
    mask[2, 2] = value
    picture = Image.fromarray(mask) if not 0 <= value < 256 else Image.fromarray(mask.astype("u1"))
    with pytest.raises(ValueError, match=rf"unknown id {value} .*expected 1-1=crack, 2-2=stain"):
        read_mask(saved(picture, tmp_path / "m.tif"))


def test_wide_grey_mask_keeps_its_ids(tmp_path: Path) -> None:
    ids = np.zeros((4, 6), np.uint16)
    ids[1, 1] = 4000
    path = saved(Image.fromarray(ids), tmp_path / "m.png")
    assert (read_mask(path, (MaskValues(4000, 4000, "stain"),)) == (ids > 0) * 2).all()


def test_turned_tiff_mask_is_read_as_stored(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    ids = (np.arange(24) % 3).astype(np.uint8).reshape(4, 6)
    Image.fromarray(ids).save(tmp_path / "m.tif", exif=exif)
    assert (read_mask(tmp_path / "m.tif") == ids).all()


def test_coloured_mask_is_refused(tmp_path: Path) -> None:
    colours = np.zeros((4, 6, 3), np.uint8)
    colours[0, 0] = (255, 0, 0)
    with pytest.raises(ValueError, match="is coloured"):
        read_mask(saved(Image.fromarray(colours), tmp_path / "m.png"))


def test_originals_are_not_touched(tmp_path: Path) -> None:
    path = saved(Image.fromarray(RAMP), tmp_path / "a.png")
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    open_image(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
