"""The claims that every file in datamodules/sources keeps, on fake data in its real layout."""

import hashlib
import importlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import datamodules.sources
from datamodules.image_files import open_image, open_mask
from datamodules.manifest import Source, verify, write_manifest
from datamodules.sample import Record

FOLDER = Path(datamodules.sources.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
NEEDS_NO_DATA = {"synthetic"}


def save(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def texture(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (40, 50))


def spot(grey: int) -> np.ndarray:
    mask = np.zeros((40, 50))
    mask[10:20, 5:20] = grey
    return mask


def fake_mtd(root: Path) -> None:
    for number, (folder, grey) in enumerate(
        {"MT_Blowhole": 255, "MT_Crack": 200, "MT_Free": 0}.items()
    ):
        stem = root / folder / "Imgs" / f"exp1_num_{1000 * number + 7}"
        save(stem.with_suffix(".jpg"), texture(number))
        save(stem.with_suffix(".png"), spot(grey))


def fake_neu_seg(root: Path) -> None:
    for number, split in enumerate(("training", "training", "training", "test")):
        pixels = np.kron(texture(number)[:20, :20], np.ones((2, 2)))
        save(root / "images" / split / f"{number:06d}.jpg", np.repeat(pixels[..., None], 3, axis=2))
        mask = spot(1 + number % 3)[:40, :40]
        save(root / "annotations" / split / f"{number:06d}.png", mask)


def fake_folder(root: Path) -> None:
    for number, name in enumerate(("crack", "scratch", "good")):
        save(root / "images" / name / "a.png", texture(number))
        save(root / "masks" / name / "a.png", spot(0 if name == "good" else 255))


FAKES: dict[str, Callable[[Path], None]] = {
    "folder": fake_folder,
    "mtd": fake_mtd,
    "neu_seg": fake_neu_seg,
    "synthetic": lambda root: None,
}
SETTINGS: dict[str, dict[str, int]] = {"synthetic": {"image_count": 11, "image_size_px": 64}}


def build(name: str) -> Source:
    class_name = "".join(part.capitalize() for part in name.split("_"))
    source_class = getattr(importlib.import_module(f"datamodules.sources.{name}"), class_name)
    return source_class(**SETTINGS.get(name, {}))


def tree_hash(root: Path) -> str:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    content = b"".join(str(path).encode() + path.read_bytes() for path in files)
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def root(name: str, tmp_path: Path) -> Path:
    assert name in FAKES, f"write a fake layout for {name} here"
    FAKES[name](tmp_path)
    return tmp_path


@pytest.fixture
def records(name: str, root: Path) -> list[Record]:
    return build(name).records(root)


def test_class_and_name_are_those_of_the_file(name):
    assert isinstance(build(name), Source)
    assert build(name).name == name


def test_records_name_their_source_and_a_group(name, records):
    assert records
    assert {record.source for record in records} == {name}
    assert all(record.group for record in records)


def test_every_image_and_mask_opens(records, root):
    verify(records, root)


def test_paths_are_relative_and_unique(records):
    paths = [record.image for record in records]
    assert len(set(paths)) == len(paths)
    assert not any(Path(path).is_absolute() for path in paths)


def test_second_reading_is_equal_and_leaves_every_file_untouched(name, records, root):
    before = tree_hash(root)
    assert build(name).records(root) == records
    assert tree_hash(root) == before


def test_vocabulary_knows_every_type(name, records):
    vocabulary = build(name).vocabulary(records)
    named = {defect for record in records for defect in record.defects}
    named |= {value.name for record in records for value in record.mask_values}
    assert named <= set(vocabulary.names)


def test_masks_show_exactly_the_named_defects(name, records, root):
    vocabulary = build(name).vocabulary(records)
    for record in records:
        size_px = open_image(root / record.image).shape[:2]
        mask = open_mask(
            root / record.mask, record.mask_values, vocabulary=vocabulary, size_px=size_px
        )
        shown = {vocabulary.names[k] for k in np.unique(mask)} - {"good"}
        assert shown == set(record.defects)


def test_captions_speak_of_a_defect_where_there_is_one(records):
    for record in records:
        assert bool(record.caption.defect) == bool(record.defects)
        assert bool(record.caption.location) == bool(record.defects)


def test_manifest_gives_the_records_back(name, records, root, tmp_path):
    manifest = write_manifest(
        tmp_path / "out" / "manifest.parquet",
        records,
        root=root,
        vocabulary=build(name).vocabulary(records),
        source=name,
    )
    assert [manifest[row] for row in range(len(manifest))] == records


@pytest.mark.parametrize("what", ["missing", "empty"])
def test_absent_data_is_one_line_with_the_remedy(name, what, tmp_path):
    if name in NEEDS_NO_DATA:
        pytest.skip("renders its own data")
    if what == "empty":
        (tmp_path / "root").mkdir()
    with pytest.raises(FileNotFoundError) as error:
        build(name).records(tmp_path / "root")
    assert "\n" not in str(error.value)
    assert "expected" in str(error.value)
