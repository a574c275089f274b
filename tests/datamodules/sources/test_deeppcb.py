"""The quirks of DeepPCB, on fake and on real files."""

from collections import Counter
from pathlib import Path

import pytest

from datamodules.preparing.inspection import inspect
from datamodules.sample import Record, Region
from datamodules.sources.deeppcb import Deeppcb, read_boxes
from tests.datamodules.sources.layouts.deeppcb import write, write_pair


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def test_templates_are_good_pictures_of_the_same_group(root):
    template, tested = Deeppcb().records(root)[:2]
    assert template.image == "PCBData/group00041/00041/00041000_temp.jpg"
    assert (template.defects, template.group) == ((), tested.group)


def test_templates_are_left_out_on_demand(root):
    records = Deeppcb(templates=False).records(root)
    assert [record.image[-9:] for record in records] == ["_test.jpg"] * 3


def test_a_group_folder_is_one_group_without_a_split(root):
    records = Deeppcb().records(root)
    assert {(r.group, r.split) for r in records} == {
        ("deeppcb_group00041", ""),
        ("deeppcb_group12000", ""),
    }


def test_published_lists_split_pairs_on_demand(root):
    records = Deeppcb(published_split=True).records(root)
    splits = {record.group: record.split for record in records}
    assert splits == {
        "deeppcb_00041000": "train",
        "deeppcb_00041001": "test",
        "deeppcb_12000007": "train",
        "deeppcb_12000034": "",
    }


@pytest.mark.parametrize("separator", [" ", ",", ", ", "\t"])
def test_boxes_are_parted_by_blanks_or_commas(tmp_path, separator):
    path = tmp_path / "a.txt"
    path.write_text(separator.join(["466", "441", "493", "470", "3"]))
    assert read_boxes(path) == (Region("mousebite", "box", (466, 441, 27, 29)),)


@pytest.mark.parametrize("text", ["", "1 2 3 4", "1 2 3 4 0", "1 2 3 4 7", "1 2 x 4 1", "a" * 99])
def test_bad_line_is_one_clear_line(tmp_path, text):
    path = tmp_path / "a.txt"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"a\.txt.*: expected") as error:
        read_boxes(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("boxes", ["1 2 3 4 9", "nan 1 9 9 1", "9 9 1 1 1", "1 1 99 9 2"])
def test_bad_boxes_are_refused_alone(root, boxes):
    write_pair(root, "00041", "00041005", boxes)
    seen = [inspect(record, root) for record in Deeppcb().records(root)]
    assert [Path(one.record.image).name for one in seen if one.problem] == ["00041005_test.jpg"]


def test_missing_box_file_is_refused_alone(root):
    (root / "PCBData/group00041/00041_not/00041000.txt").unlink()
    seen = [inspect(record, root) for record in Deeppcb().records(root)]
    assert [Path(one.record.image).name for one in seen if one.problem] == ["00041000_test.jpg"]


def test_missing_list_is_one_clear_line(root):
    (root / "PCBData/test.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"test\.txt is missing: expected"):
        Deeppcb(published_split=True).records(root)


@pytest.fixture
def real(shared_data) -> list[Record]:
    return Deeppcb().records(shared_data / "deeppcb")


def test_real_pairs_of_a_group_are_those_of_its_origin(real):
    pairs = Counter(r.group.removeprefix("deeppcb_group") for r in real if r.defects)
    assert pairs == {
        "00041": 39, "12000": 14, "12100": 26, "12300": 17, "13000": 38,
        "20085": 57, "44000": 18, "50600": 14, "77000": 19, "92000": 21,
    }  # fmt: skip
    assert sum(not record.defects for record in real) == 263


def test_real_boxes_are_those_of_its_origin(real):
    boxes = Counter(region.name for record in real for region in record.regions)
    assert boxes == {
        "open": 353, "short": 253, "mousebite": 350,
        "spur": 287, "spurious copper": 256, "pin hole": 248,
    }  # fmt: skip
    assert not any(record.flaw for record in real)


def test_real_lists_hold_179_and_84_pairs(shared_data):
    records = Deeppcb(templates=False, published_split=True).records(shared_data / "deeppcb")
    assert Counter(record.split for record in records) == {"train": 179, "test": 84}
