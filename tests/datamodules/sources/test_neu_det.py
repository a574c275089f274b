"""The quirks of NEU-DET, on fake and on real files."""

import re
from collections import Counter

import pytest

from datamodules.preparing.inspection import inspect
from datamodules.sample import Record
from datamodules.sources.neu_det import TYPES, NeuDet
from tests.datamodules.sources.layouts.neu_det import write, write_strip


def test_validation_folders_are_the_test_split(tmp_path):
    write(tmp_path)
    assert [record.split for record in NeuDet().records(tmp_path)] == ["train"] * 3 + ["test"]


def test_type_of_the_file_name_is_dominant_over_a_larger_box(tmp_path):
    write(tmp_path)
    record = NeuDet().records(tmp_path)[1]
    assert record.defects == ("patches", "inclusion")
    assert inspect(record, tmp_path).record.caption.defect == "patches and inclusion"


def test_names_are_not_split_at_their_own_hyphen(tmp_path):
    write(tmp_path)
    assert NeuDet().records(tmp_path)[2].defects == ("rolled in scale",)


@pytest.mark.parametrize(
    ("name", "boxes", "words"),
    [
        ("rust_3", {"crazing": (1, 1, 9, 9)}, r"rust_3\.jpg is not named <type>_<n>"),
        ("crazing_3", {"rust": (1, 1, 9, 9)}, "object 1 of .* is a 'rust', expected one of"),
        ("crazing_3", {}, r"crazing_3\.jpg has no box"),
        ("crazing_3", {"crazing": (9, 9, 1, 1)}, "expected a positive size"),
        ("crazing_3", {"crazing": (1, 1, 90, 9)}, "lies outside its picture"),
    ],
)
def test_bad_annotation_is_refused_alone(tmp_path, name, boxes, words):
    write(tmp_path)
    write_strip(tmp_path, name, boxes)
    seen = [inspect(record, tmp_path) for record in NeuDet().records(tmp_path)]
    problems = {one.record.image: one.problem for one in seen}
    assert len(problems) == 5
    assert re.search(words, problems.pop(f"IMAGES/{name}.jpg"))
    assert set(problems.values()) == {""}


@pytest.fixture
def real(shared_data) -> list[Record]:
    return NeuDet().records(shared_data / "neu_det")


def test_real_counts_are_those_of_its_origin(real):
    splits = [
        Counter(r.defects[0] for r in real if r.split == split) for split in ("train", "test")
    ]
    assert [[counts[name] for name in TYPES.values()] for counts in splits] == [
        [147, 146, 148, 147, 150, 149],
        [5, 4, 5, 6, 5, 5],
    ]


def test_real_boxes_are_those_of_its_origin(real):
    boxes = Counter(region.name for record in real for region in record.regions)
    assert [boxes[name] for name in TYPES.values()] == [347, 511, 449, 213, 325, 275]


def test_62_real_pictures_carry_boxes_of_a_second_type(real):
    assert sum(len(record.defects) > 1 for record in real) == 62
    assert not any(record.flaw for record in real)


def test_identical_real_pictures_stay(real):
    names = {record.image for record in real}
    assert {"IMAGES/patches_101.jpg", "IMAGES/patches_105.jpg"} <= names
