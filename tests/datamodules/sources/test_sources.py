"""The claims that every file in datamodules/sources keeps, on fake data in its real layout."""

import hashlib
import importlib
from pathlib import Path

import pytest

import datamodules.sources
from datamodules.manifest import Source, write_manifest
from datamodules.preparing.inspection import Inspection, inspect
from datamodules.sample import UNLABELLED, Record
from datamodules.splits import SPLITS

FOLDER = Path(datamodules.sources.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem != "__init__")
NEEDS_NO_DATA = {"synthetic"}


def build(name: str) -> Source:
    class_name = "".join(part.capitalize() for part in name.split("_"))
    source_class = getattr(importlib.import_module(f"datamodules.sources.{name}"), class_name)
    return source_class(**getattr(layout_of(name), "SETTINGS", {}))


def layout_of(name: str) -> object:
    path = Path(__file__).parent / "layouts" / f"{name}.py"
    assert path.is_file(), f"write a fake layout for {name} in {path}"
    return importlib.import_module(f"tests.datamodules.sources.layouts.{name}")


def tree_hash(root: Path, names: list[Path]) -> str:
    content = b"".join(str(path).encode() + (root / path).read_bytes() for path in names)
    return hashlib.sha256(content).hexdigest()


def files_of(root: Path) -> list[Path]:
    return sorted(path.relative_to(root) for path in root.rglob("*") if path.is_file())


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def root(name: str, tmp_path: Path) -> Path:
    layout_of(name).write(tmp_path)  # type: ignore[attr-defined]
    return tmp_path


@pytest.fixture
def records(name: str, root: Path) -> list[Record]:
    return build(name).records(root)


@pytest.fixture
def inspections(records: list[Record], root: Path) -> list[Inspection]:
    return [inspect(record, root) for record in records]


def test_class_and_name_are_those_of_the_file(name):
    assert isinstance(build(name), Source)
    assert build(name).name == name


def test_about_tells_the_licence_and_the_way_to_the_data(name):
    about = build(name).about
    assert about.title
    assert about.licence
    assert about.downloads or about.instructions or name in NEEDS_NO_DATA


def test_records_have_a_group_a_product_and_a_known_split(records):
    assert records
    assert all(record.group and record.caption.product for record in records)
    assert {record.split for record in records} <= {"", UNLABELLED, *SPLITS}


def test_every_picture_and_annotation_passes_inspection(inspections):
    assert [inspection.problem for inspection in inspections if inspection.problem] == []


def test_paths_are_relative_and_unique(records):
    paths = [record.image for record in records]
    assert len(set(paths)) == len(paths)
    assert not any(Path(path).is_absolute() or ".." in Path(path).parts for path in paths)


def test_second_reading_is_equal_and_leaves_every_file_untouched(name, root):
    before = files_of(root)
    original = tree_hash(root, before)
    first = build(name).records(root)
    assert build(name).records(root) == first
    assert tree_hash(root, before) == original


def test_vocabulary_knows_every_type(name, inspections):
    records = [inspection.record for inspection in inspections]
    named = {defect for record in records for defect in record.defects}
    assert named <= set(build(name).vocabulary(records).names)


def test_captions_speak_of_a_defect_where_there_is_one(inspections):
    for record in (inspection.record for inspection in inspections):
        assert bool(record.caption.defect) == bool(record.defects)
        if record.mask_kind != "none":
            assert bool(record.caption.location) == bool(record.defects)


def test_unlabelled_pictures_claim_no_defect(inspections):
    unlabelled = [i.record for i in inspections if i.record.split == UNLABELLED]
    assert not any(record.defects or record.mask_kind != "none" for record in unlabelled)


def test_manifest_gives_the_records_back(name, inspections, root, tmp_path):
    records = [inspection.record for inspection in inspections]
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
    with pytest.raises((FileNotFoundError, ValueError)) as error:
        build(name).records(tmp_path / "root")
    assert "\n" not in str(error.value)
    assert "expected" in str(error.value)
