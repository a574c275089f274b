"""The quirks of VisA, on fake files."""

from pathlib import Path

import pytest

from datamodules.preparing.inspection import inspect
from datamodules.sources.visa import RESPELLED, TYPES_BY_GREY, Visa
from tests.datamodules.sources.layouts.visa import (
    BAD_ROWS,
    GOOD_ROWS,
    write,
    write_labels,
    write_mask,
)
from tests.datamodules.sources.painting import spot

CANDLE, BOARD = 2, 3


@pytest.fixture
def root(tmp_path: Path) -> Path:
    write(tmp_path)
    return tmp_path


def test_all_twelve_objects_have_their_published_number_of_types():
    counts = {name: len(types) for name, types in TYPES_BY_GREY.items()}
    assert counts == {
        "candle": 8,
        "capsules": 5,
        "cashew": 9,
        "chewinggum": 6,
        "fryum": 8,
        "macaroni1": 7,
        "macaroni2": 7,
        "pcb1": 4,
        "pcb2": 4,
        "pcb3": 4,
        "pcb4": 7,
        "pipe_fryum": 9,
    }


def test_comma_parted_labels_are_several_types(root):
    record = Visa().records(root)[CANDLE]
    assert record.defects == ("different colour spot", "foreign particles on candle")
    assert record.caption.defect == "different colour spot and foreign particles on candle"


def test_grey_values_are_types_of_their_own_object(root):
    records = Visa().records(root)
    names = [{v.name for v in r.mask_values if v.low == 7} for r in records[CANDLE:]]
    assert names == [{"wax melted out of the candle"}, {"dirt"}]


def test_masks_that_are_black_to_the_eye_show_their_types(root):
    seen = [inspect(record, root) for record in Visa().records(root)[CANDLE:]]
    assert [inspection.notes for inspection in seen] == [(), ()]


def test_a_type_that_only_the_mask_shows_is_named(root):
    mask = spot(7)
    mask[0, :5] = 1
    write_mask(root, "pcb4", mask)
    assert inspect(Visa().records(root)[BOARD], root).record.defects == ("dirt", "burnt")


def test_a_grey_value_that_is_no_type_is_refused(root):
    write_mask(root, "pcb4", spot(8))
    assert "unknown id 8" in inspect(Visa().records(root)[BOARD], root).problem


def test_a_type_of_another_object_is_a_flaw(root):
    write_labels(root, "pcb4", [], "leak")
    assert "type 'leak' of pcb4" in Visa().records(root)[BOARD].flaw


def test_an_anomaly_without_a_label_is_a_flaw(root):
    (root / "pcb4/image_anno.csv").write_text("image,label,mask\n", encoding="utf-8")
    assert "has no label in pcb4/image_anno.csv" in Visa().records(root)[BOARD].flaw


def test_published_spellings_stay_as_synonyms(root):
    vocabulary = Visa().vocabulary(Visa().records(root))
    for published, name in RESPELLED.items():
        assert vocabulary.names[vocabulary.id_of(published)] == name


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("spoon,test,normal,spoon/a.JPG,", "object 'spoon'"),
        ("candle,test,normal,../a.JPG,", "does not lie in the data folder"),
        ("candle,later,normal,candle/a.JPG,", "split 'later'"),
        ("candle,test,anomaly,candle/a.JPG,/etc/a.png", "does not lie in the data folder"),
    ],
)
def test_a_bad_row_is_a_flaw_of_its_picture_alone(tmp_path, row, words):
    write(tmp_path, rows=(*GOOD_ROWS, *BAD_ROWS, row))
    flaws = [record.flaw for record in Visa().records(tmp_path)]
    assert [words in flaw for flaw in flaws if flaw] == [True]


def test_another_table_is_one_clear_line(root):
    (root / "split_csv/1cls.csv").write_text("object,label\ncandle,normal\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"1cls\.csv is not readable \(it has no column 'split'"):
        Visa().records(root)


def test_a_missing_list_of_labels_is_one_clear_line(root):
    (root / "candle/image_anno.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"image_anno\.csv is missing in .*candle"):
        Visa().records(root)


def test_unknown_protocol_is_one_clear_line():
    with pytest.raises(ValueError, match="split_file is '3cls': expected one of 1cls"):
        Visa(split_file="3cls")
