"""The quirks of Severstal, on fake files."""

import numpy as np
import pytest

from datamodules.annotation import draw_region
from datamodules.preparing.inspection import inspect
from datamodules.sample import UNLABELLED
from datamodules.sources.severstal import Severstal
from tests.datamodules.sources.layouts.severstal import FIRST_ROWS, ROWS, write

SIZE_PX = (40, 50)


def test_runs_go_down_the_columns_and_start_at_one(tmp_path):
    write(tmp_path)
    region = Severstal().records(tmp_path)[0].regions[0]
    expected = np.zeros(SIZE_PX, bool)
    expected[10:20, 5:7] = True
    np.testing.assert_array_equal(draw_region(region, size_px=SIZE_PX), expected)


def test_the_class_with_most_pixels_comes_first(tmp_path):
    write(tmp_path)
    assert Severstal().records(tmp_path)[1].defects == ("class 4", "class 3")


def test_a_training_picture_without_a_row_is_good(tmp_path):
    write(tmp_path)
    good = Severstal().records(tmp_path)[2]
    assert (good.image, good.defects, good.split) == ("train_images/000a4bcdd.jpg", (), "")


def test_test_pictures_are_unlabelled_not_good(tmp_path):
    write(tmp_path)
    last = Severstal().records(tmp_path)[-1]
    assert (last.image, last.split) == ("test_images/0000f269f.jpg", UNLABELLED)


def test_the_first_form_of_the_table_says_the_same(tmp_path):
    write(tmp_path / "final")
    write(tmp_path / "first", "ImageId_ClassId,EncodedPixels", FIRST_ROWS)
    first, final = (Severstal().records(tmp_path / name) for name in ("first", "final"))
    assert first == final


@pytest.mark.parametrize("pixels", ["", "NaN", "nan"])
def test_rows_without_pixels_mean_no_defect(tmp_path, pixels):
    write(tmp_path, rows=(f"0002cc93b.jpg,1,{pixels}",))
    record = Severstal().records(tmp_path)[0]
    assert (record.defects, record.flaw) == ((), "")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0002cc93b.jpg,1,211", "expected pairs"),
        ("0002cc93b.jpg,1,211 ten", "expected pairs"),
        ("0002cc93b.jpg,1,211 -10", "expected pairs"),
        ("0002cc93b.jpg,1,0 10", "starts at 0"),
        ("0002cc93b.jpg,5,1 10", "ClassId is '5'"),
        ("0002cc93b.jpg,1,1991 20", "end at pixel 2010"),
        ("0002cc93b.jpg,1,211 10 215 10", "ascending"),
        ("ffffffff.jpg,1,1 10", "is missing"),
        ("../../etc.jpg,1,1 10", "does not lie in the data folder"),
    ],
)
def test_a_bad_row_costs_its_own_picture_alone(tmp_path, row, words):
    write(tmp_path, rows=(*ROWS[1:], row))
    problems = [inspect(r, tmp_path).problem for r in Severstal().records(tmp_path)]
    assert [words in problem for problem in problems if problem] == [True]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"\xff\xfe\x00", b"", b'ImageId,"\x00'])
def test_another_table_is_one_clear_line(tmp_path, content):
    write(tmp_path)
    (tmp_path / "train.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"train\.csv is not readable .*expected UTF-8 CSV with"):
        Severstal().records(tmp_path)
