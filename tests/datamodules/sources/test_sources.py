"""The claims that every file in datamodules/sources keeps, on fake data in its real layout."""

import hashlib
import importlib
import re
from pathlib import Path

import pytest

from datamodules.about import source_class_path, source_names
from datamodules.manifest import Source, records_sha256, write_manifest
from datamodules.preparing.inspection import Inspection, inspect
from datamodules.sample import UNLABELLED, Record
from datamodules.splits import SPLITS
from tests.datamodules.sources import own_layouts, public_layouts

NEEDS_NO_DATA = {"synthetic"}
# The first digits of the hash of all records and the vocabulary: whoever changes one changes every
# manifest of that set, and says why.
GOLDEN = {
    "btad": "02aba843bbe68ddc",
    "coco": "94c826bdd82829ac",
    "csv": "c7f5dff8d8c4bdc0",
    "dagm": "b9e8d939fbf7a04c",
    "deeppcb": "93f0ae9424d1fb1a",
    "elpv": "76c4a0b7b4795256",
    "folder": "fe02285bf9100afb",
    "generated": "258c55436cd5d2ed",
    "imdd1m_release": "5aa4c1a9aacb528c",
    "kolektor_sdd2": "3af1796a8165cfeb",
    "labelme": "478add5510314ad2",
    "merged": "b725627c8742d5f0",
    "mtd": "35e2b4264888fdb7",
    "mvtec_ad": "12386bce9afb231e",
    "neu_det": "5aab32384e8685a9",
    "neu_seg": "fd61831a75e1c296",
    "pv_multi_defect": "d6a582e021520208",
    "real_iad": "97d8d134d2efc9f0",
    "severstal": "011e2c40ae577508",
    "synthetic": "ff655bcdb9f2e8e6",
    "visa": "a1f3422d825aa84c",
    "wm811k": "ef582fe7e3732b88",
    "yolo": "e205a1c7c7aa9fff",
}
REAL = {
    "mtd": "999d9fd85280d9a9",
    "neu_seg": "9ed2ae63913247c7",
    "neu_det": "1fab8bdce3414e79",
    "deeppcb": "c16a3101dfe1e817",
    "elpv": "a5642bd15bf525c8",
    "pv_multi_defect": "0c1262d4c963ec97",
}


def build(name: str, **settings: object) -> Source:
    module, _, class_name = source_class_path(name).rpartition(".")
    source_class = getattr(importlib.import_module(module), class_name)
    return source_class(**{**own_layouts.SETTINGS.get(name, {}), **settings})


def write(name: str, root: Path) -> None:
    """The source's fake data below the root."""
    writers = {**vars(public_layouts), **vars(own_layouts)}
    assert f"write_{name}" in writers, f"add write_{name} to public_layouts.py or own_layouts.py"
    writers[f"write_{name}"](root)


def files_of(root: Path) -> dict[Path, str]:
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def short_hash(source: Source, records: list[Record]) -> str:
    return records_sha256(records, source.vocabulary(records))[:16]


@pytest.fixture(params=source_names())
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def root(name: str, tmp_path: Path) -> Path:
    write(name, tmp_path)
    return tmp_path


@pytest.fixture
def records(name: str, root: Path) -> list[Record]:
    return build(name).records(root)


@pytest.fixture
def inspections(records: list[Record], root: Path) -> list[Inspection]:
    return [inspect(record, root) for record in records]


def test_class_and_name_are_those_of_the_file_and_the_facts_are_told(name):
    assert isinstance(build(name), Source)
    assert build(name).name == name
    about = build(name).about
    assert about.title and about.licence and (about.downloads or about.instructions)
    for item in about.downloads:
        assert re.fullmatch("[0-9a-f]{64}", item.sha256) and item.url.startswith("https://")
        assert re.fullmatch(r"[\w.-]+\.(zip|tar|tar\.xz)", item.file_name)


@pytest.mark.parametrize("name", GOLDEN)
def test_records_are_those_of_the_golden_hash(name, records):
    assert short_hash(build(name), records) == GOLDEN[name]


@pytest.mark.parametrize("name", REAL)
def test_records_of_real_data_are_those_of_the_golden_hash(name, shared_data):
    source = build(name)
    assert short_hash(source, source.records(shared_data / name)) == REAL[name]


def test_records_have_a_group_a_product_and_a_known_split(records):
    assert records
    assert all(record.group and record.caption.product for record in records)
    assert {record.split for record in records} <= {"", UNLABELLED, *SPLITS}


def test_every_image_and_annotation_passes_inspection(inspections):
    assert [inspection.problem for inspection in inspections if inspection.problem] == []


def test_paths_are_relative_and_unique(records):
    paths = [record.image for record in records]
    assert len(set(paths)) == len(paths)
    assert not any(Path(path).is_absolute() or ".." in Path(path).parts for path in paths)


def test_second_reading_is_equal_and_leaves_every_file_untouched(name, root):
    original = files_of(root)
    first = build(name).records(root)
    assert build(name).records(root) == first
    assert original.items() <= files_of(root).items()


def test_vocabulary_and_captions_know_every_type(name, inspections):
    records = [inspection.record for inspection in inspections]
    named = {defect for record in records for defect in record.defects}
    assert named <= set(build(name).vocabulary(records).names)
    fixed = {words[0] for words in build(name).types}
    assert not fixed or set(build(name).causes) <= fixed
    for record in records:
        assert bool(record.caption.defect) == bool(record.defects)
        if record.mask_kind != "none":
            assert bool(record.caption.location) == bool(record.defects)


def test_unlabelled_images_claim_no_defect(inspections):
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
