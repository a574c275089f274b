"""The quirks of PV-Multi-Defect, on fake and on real files."""

from collections import Counter
from pathlib import Path

import pytest

from datamodules.preparing.inspection import inspect
from datamodules.sample import UNLABELLED, Record
from datamodules.sources.pv_multi_defect import PvMultiDefect
from tests.datamodules.sources.layouts.pv_multi_defect import write, write_panel


def test_pictures_without_xml_or_without_objects_are_unlabelled(tmp_path):
    write(tmp_path)
    splits = [record.split for record in PvMultiDefect().records(tmp_path)]
    assert splits == ["", "", UNLABELLED, UNLABELLED]


def test_the_type_with_the_largest_boxes_is_dominant(tmp_path):
    write(tmp_path)
    assert PvMultiDefect().records(tmp_path)[0].defects == ("black border", "hot spot")


def test_xml_without_a_picture_is_noticed(tmp_path):
    write(tmp_path)
    (tmp_path / "JPEGImages/img5.jpg").unlink()
    problem = inspect(PvMultiDefect().records(tmp_path)[0], tmp_path).problem
    assert "img5.jpg is missing" in problem


def test_unreadable_xml_is_refused_and_not_unlabelled(tmp_path):
    write_panel(tmp_path, 1, {"broken": (1, 1, 9, 9)})
    (tmp_path / "Annotations/img1.xml").write_text("<annotation>")
    (record,) = PvMultiDefect().records(tmp_path)
    assert "no readable XML" in inspect(record, tmp_path).problem


@pytest.fixture
def real(shared_data) -> list[Record]:
    return PvMultiDefect().records(shared_data / "pv_multi_defect")


def test_real_boxes_are_those_of_its_origin(real):
    assert len(real) == 493
    assert Counter(region.name for record in real for region in record.regions) == {
        "hot spot": 947,
        "scratch": 536,
        "black border": 103,
        "broken": 98,
        "no electricity": 74,
    }


def test_real_pictures_of_a_type_are_those_of_its_origin(real):
    assert Counter(name for record in real for name in record.defects) == {
        "hot spot": 94,
        "scratch": 259,
        "black border": 68,
        "broken": 82,
        "no electricity": 66,
    }


def test_real_unlabelled_pictures_are_the_three_of_its_origin(real):
    unlabelled = {Path(record.image).stem for record in real if record.split == UNLABELLED}
    assert unlabelled == {"img3059", "img9513", "img7863"}
    assert not any(record.flaw for record in real)
