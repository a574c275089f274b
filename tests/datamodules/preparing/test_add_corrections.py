"""Holds which old rows a correction takes the place of, and which corrections never train."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.manifest import Manifest
from datamodules.preparing.preparation import add_corrections, prepare
from datamodules.sample import KEY_LETTERS
from datamodules.sources.folder import Folder


@pytest.fixture
def tiles(tmp_path: Path) -> Manifest:
    """Tiles of sixteen images of noise, half of them of cracks."""
    noise = np.random.default_rng(0)
    for number in range(16):
        place = tmp_path / "parts" / "images" / ("crack" if number % 2 else "good")
        place.mkdir(parents=True, exist_ok=True)
        pixels = noise.integers(0, 256, (96, 96), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
    path = tmp_path / "tiles.parquet"
    return prepare(Folder(), tmp_path / "parts", path, tiling_px=(64, 32), workers=1).manifest


def image_of(index: Manifest, split: str) -> tuple[Path, str]:
    """An image of which the split has tiles, and its SHA-256."""
    records = [index[row] for row in index.rows_of(split).tolist()]
    record = next(one for one in records if one.window_xywh_px)
    return index.root / record.image, record.sha256


def corrected(folder: Path, files: dict[str, bytes]) -> Manifest:
    place = folder / "right" / "images" / "scratch"
    place.mkdir(parents=True)
    for name, content in files.items():
        (place / name).write_bytes(content)
    path, whole = folder / "right.parquet", (1.0, 0.0, 0.0)
    done = prepare(Folder(), folder / "right", path, fractions=whole, workers=1)
    return done.manifest


def test_a_whole_image_takes_the_place_of_its_tiles_and_none_of_the_test_trains(
    tiles: Manifest, tmp_path: Path
) -> None:
    (train, train_sha256), (test, test_sha256) = (image_of(tiles, s) for s in ("train", "test"))
    files = {"a.png": train.read_bytes(), "b.png": test.read_bytes()}
    made, left_out = add_corrections(tiles, corrected(tmp_path, files), tmp_path)
    records = [made[row] for row in range(len(made))]
    assert [one.reason for one in left_out] == ["is of the same file as an image of test"]
    assert [one.defects for one in records if one.sha256 == train_sha256] == [("scratch",)]
    assert {one.split for one in records if one.sha256 == test_sha256} == {"test"}
    count = sum(tiles[row].sha256 == train_sha256 for row in range(len(tiles)))
    assert count > 1 and len(made) == len(tiles) - count + 1


def test_a_correction_in_another_format_is_known_by_the_content_it_is_called_by(
    tiles: Manifest, tmp_path: Path
) -> None:
    train, sha256 = image_of(tiles, "train")
    other = tmp_path / "other.png"
    Image.open(train).convert("RGB").save(other)  # as serve saves what a camera turned
    assert other.read_bytes() != train.read_bytes()
    files = {f"{sha256[:KEY_LETTERS]}.png": other.read_bytes()}
    made, left_out = add_corrections(tiles, corrected(tmp_path, files), tmp_path)
    assert not left_out and sha256 not in made.column("sha256")


def test_a_word_that_was_typed_for_an_old_name_is_no_new_name(
    tiles: Manifest, tmp_path: Path
) -> None:
    train, _ = image_of(tiles, "train")
    done = corrected(tmp_path, {"a.png": train.read_bytes()})  # somebody says scratch
    made, _ = add_corrections(tiles, done, tmp_path, "crack, scratch; dent; not shadow")
    assert made.vocabulary.names == ("good", "crack")
    assert "scratch" in made.vocabulary.entries[1]
    plain, _ = add_corrections(tiles, done, tmp_path / "plain")
    assert plain.vocabulary.names == ("good", "crack", "scratch")
