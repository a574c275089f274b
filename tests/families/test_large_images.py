"""Images too large to be opened whole are read in windows, where their file allows it."""

import json
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules import decode
from datamodules.annotation import open_pair
from datamodules.decode import open_pixels
from datamodules.preparing.preparation import Preparation, prepare
from datamodules.sources.coco import Coco
from datamodules.sources.csv import Csv

SIDES_PX = (150, 110)  # height, width
LIMIT = 12_000
WINDOWS = [(0, 0, 32, 32), (78, 118, 32, 32), (40, 63, 32, 20), (0, 149, 110, 1), (109, 0, 1, 80)]
MODES = ("L", "RGB", "P", "1", "RGBA", "CMYK")
CODINGS = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4")


@pytest.fixture
def low_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """So few pixels are many."""
    monkeypatch.setattr(decode, "MAX_PIXELS", LIMIT)


def pixels(mode: str = "L") -> Image.Image:
    noise = np.random.default_rng(0).integers(0, 120, (*SIDES_PX, 3), dtype=np.uint8)
    noise[20:60, 30:90] = 250
    return Image.fromarray(noise).convert("RGB" if mode == "P" else mode).convert(mode)


def write_tiled(path: Path, image: np.ndarray, *, side_px: int, compressed: bool) -> None:
    """A grey or colour TIFF in square tiles, of which those at the rims are filled up."""
    height, width = image.shape[:2]
    samples = 1 if image.ndim == 2 else 3
    down, across = -(-height // side_px), -(-width // side_px)
    full = np.zeros((down * side_px, across * side_px, samples), np.uint8)
    full[:height, :width] = image.reshape(height, width, samples)
    tiles = [
        full[y : y + side_px, x : x + side_px].tobytes()
        for y in range(0, len(full), side_px)
        for x in range(0, full.shape[1], side_px)
    ]
    tiles = [zlib.compress(tile) if compressed else tile for tile in tiles]
    begins = (8 + np.cumsum([0, *map(len, tiles)])).tolist()
    tags = {
        256: (width,), 257: (height,), 258: (8,) * samples, 259: (8 if compressed else 1,),
        262: (1 if samples == 1 else 2,), 277: (samples,), 322: (side_px,), 323: (side_px,),
        324: tuple(begins[:-1]), 325: tuple(map(len, tiles)),
    }  # fmt: skip
    end, entries, extra = begins[-1], b"", b""
    behind = end + 2 + 12 * len(tags) + 4
    for tag, values in tags.items():
        data = struct.pack(f"<{len(values)}L", *values)
        place = struct.pack("<L", behind + len(extra)) if len(data) > 4 else data
        entries += struct.pack("<HHL", tag, 4, len(values)) + place
        extra += data if len(data) > 4 else b""
    head = b"II*\0" + struct.pack("<L", end)
    path.write_bytes(
        head + b"".join(tiles) + struct.pack("<H", len(tags)) + entries + bytes(4) + extra
    )


def check_windows(path: Path, whole: np.ndarray) -> None:
    """Nothing, where every window is what would be cut of the whole image."""
    with pytest.raises(ValueError, match="more than"):
        open_pixels(path)
    for left, top, width, height in WINDOWS:
        seen = open_pixels(path, (left, top, width, height))
        expected = whole[top : top + height, left : left + width]
        if seen.ndim < expected.ndim:
            seen = np.repeat(seen[..., None], 3, axis=2)
        assert np.array_equal(seen, expected)


@pytest.mark.parametrize("coding", CODINGS)
@pytest.mark.parametrize("mode", MODES)
def test_window_of_strips_is_cut_of_the_whole(mode, coding, tmp_path, monkeypatch):
    if (coding == "group4") != (mode == "1") or (coding == "jpeg" and mode in ("P", "RGBA")):
        return  # which TIFF does not have
    path = tmp_path / "a.tif"
    pixels(mode).save(path, compression=None if coding == "raw" else coding, strip_size=600)
    whole = open_pixels(path)
    monkeypatch.setattr(decode, "MAX_PIXELS", LIMIT)
    check_windows(path, whole)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("compressed", [False, True])
def test_window_of_tiles_is_cut_of_the_whole(mode, compressed, tmp_path, low_limit):
    image = np.asarray(pixels(mode))
    write_tiled(tmp_path / "a.tif", image, side_px=32, compressed=compressed)
    check_windows(tmp_path / "a.tif", image)


def write_coco(root: Path, outline: str) -> Coco:
    """One large image with a bright area and a small one without, outlined in a way."""
    (root / "images").mkdir(parents=True)
    (root / "annotations").mkdir()
    pixels().save(root / "images/a.tif", strip_size=600, compression="tiff_lzw")
    pixels().crop((0, 100, 40, 140)).save(root / "images/b.tif")
    height, width = SIDES_PX
    flat = np.zeros((width, height), np.uint8)
    flat[30:90, 20:60] = 1
    counts = np.diff(np.flatnonzero(np.diff(flat.ravel(), prepend=0, append=0)), prepend=0)
    counts = [*counts.tolist(), flat.size - int(counts.sum())]
    drawn = {
        "polygon": {"segmentation": [[30, 20, 90, 20, 90, 60, 30, 60]]},
        "runs": {"segmentation": {"size": SIDES_PX, "counts": counts}},
        "box": {"bbox": [30, 20, 60, 40]},
        "none": {},
    }[outline]
    content = {
        "images": [{"id": k, "file_name": f"{name}.tif"} for k, name in enumerate("ab")],
        "categories": [{"id": 1, "name": "pit"}],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, **drawn}],
    }
    (root / "annotations/a.json").write_text(json.dumps(content))
    return Coco()


def tiled(source: object, root: Path, out: Path) -> Preparation:
    path = out / "manifest.parquet"
    return prepare(source, root, path, tiling_px=(48, 8), max_bad_fraction=1.0)


@pytest.mark.parametrize("outline", ["polygon", "runs", "box"])
def test_tiles_of_a_large_image_are_those_of_a_smaller_one(outline, tmp_path, monkeypatch):
    source = write_coco(tmp_path / "raw", outline)
    usual = tiled(source, tmp_path / "raw", tmp_path / "usual").manifest
    monkeypatch.setattr(decode, "MAX_PIXELS", LIMIT)
    large = tiled(source, tmp_path / "raw", tmp_path / "large").manifest
    assert large.sha256 == usual.sha256 and len(large) == 4 * 3 + 1
    for row in range(len(large)):
        image, ids = open_pair(large[row], large.root, vocabulary=large.vocabulary)
        assert ids is not None and np.array_equal(ids > 0, image > 200)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("a.png", "TIFF of 8 bits in strips or tiles"),
        ("deep.tif", "TIFF of 8 bits in strips or tiles"),
        ("turned.tif", "TIFF of 8 bits in strips or tiles"),
        ("one_strip.tif", "TIFF of 8 bits in strips or tiles"),
        ("cut.tif", "it is truncated"),
        ("masked.tif", "outline its defects by polygons"),
        ("typed.tif", "outline its defects by polygons"),
    ],
)
def test_what_cannot_be_read_in_windows_is_one_refused_image(name, words, tmp_path, low_limit):
    root, exif = tmp_path / "raw", Image.Exif()
    root.mkdir()
    exif[0x0112] = 6 if name == "turned.tif" else 1
    image = pixels()
    if name == "deep.tif":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 200)
    one = {"compression": "tiff_lzw", "strip_size": 10**6} if name == "one_strip.tif" else {}
    image.save(root / name, exif=exif, **one)
    if name == "cut.tif":
        (root / name).write_bytes((root / name).read_bytes()[:-2000])
    Image.new("L", (40, 40)).save(root / "small.png")
    if name == "masked.tif":
        Image.fromarray(np.asarray(pixels()) // 250 * 255).save(root / "mask.png")
    row = {"masked.tif": "pit,mask.png", "typed.tif": "pit,"}.get(name, "good,")
    (root / "records.csv").write_text(f"image,type,mask\n{name},{row}\nsmall.png,good,\n")
    done = tiled(Csv(), root, tmp_path / "out")
    assert len(done.manifest) == 1
    (refused,) = done.unusable
    assert words in refused.reason
