"""Tables of images, good and bad."""

from pathlib import Path

import pytest

from datamodules.preparing.inspection import inspect
from datamodules.sample import UNLABELLED, MaskValues, Record
from datamodules.sources.csv import Csv
from tests.datamodules.sources.painting import save, spot, texture


def read(root: Path, text: str | bytes, **settings: object) -> list[Record]:
    """The records of a table beside the images a.png, x/b c.PNG and the mask m.png."""
    save(root / "a.png", texture(0))
    save(root / "x/b c.png", texture(1))
    (root / "x/b c.png").rename(root / "x/b c.PNG")
    save(root / "m.png", spot(200))
    data = text if isinstance(text, bytes) else text.encode()
    (root / "records.csv").write_bytes(data)
    return Csv(**settings).records(root)


def test_picture_alone_is_unlabelled(tmp_path):
    first, second = read(tmp_path, "image\na.png\nx\\b c.PNG\n")
    assert (first.split, first.defects) == (UNLABELLED, ())
    assert second.image == "x/b c.PNG"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_any_delimiter_and_case_of_the_header_is_read(tmp_path, delimiter):
    text = "\ufeff Image ,TYPE,Split\r\na.png,Pin-Hole,valid\r\n".replace(",", delimiter)
    (record,) = read(tmp_path, text)
    assert (record.defects, record.split) == (("pin hole",), "val")


def test_rows_of_a_picture_add_boxes(tmp_path):
    rows = "a.png,crack,1,2,3,4\na.png,hole,5,10,15.5,10\n"
    (record,) = read(tmp_path, f"image,type,left,top,width,height\n{rows}")
    assert record.defects == ("hole", "crack")
    assert [region.numbers for region in record.regions] == [(1, 2, 3, 4), (5, 10, 15.5, 10)]


def test_row_words_go_before_the_settings(tmp_path):
    text = "image,type,product,group,licence,caption\na.png,hole,tile,b7,CC0-1.0,A hole, it is\n"
    (record,) = read(tmp_path, text.replace("A hole, it is", '"A hole, it is"'), material="clay")
    assert (record.caption.product, record.caption.material) == ("tile", "clay")
    assert (record.group, record.licence) == ("csv_b7", "CC0-1.0")
    assert record.released_caption == "A hole, it is"


@pytest.mark.parametrize(("largest", "high"), [(127, 65535), (0, 65535)])
def test_setting_says_where_a_mask_begins(tmp_path, largest, high):
    (record,) = read(tmp_path, "image,mask,type\na.png,m.png,hole\n", largest_good_grey=largest)
    assert record.mask_values == (
        MaskValues(0, largest, "good"),
        MaskValues(largest + 1, high, "hole"),
    )


def test_ids_tell_the_types_of_a_mask(tmp_path):
    text = "image,mask\na.png,m.png\n"
    (record,) = read(tmp_path, text, mask_ids={"Pin-Hole": 200, "crack": 9})
    assert inspect(record, tmp_path).record.defects == ("pin hole",)


def test_mask_without_type_shows_a_defect(tmp_path):
    (record,) = read(tmp_path, "image,mask\na.png,m.png\n")
    assert inspect(record, tmp_path).record.defects == ("defect",)


def test_marked_mask_of_a_good_picture_is_refused(tmp_path):
    (record,) = read(tmp_path, "image,mask,type\na.png,m.png,good\n")
    assert "holds the unknown id 200" in inspect(record, tmp_path).problem


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("a.png,,crack,,1,2,3", "expected four numbers"),
        ("a.png,,crack,,1,2,3,x", "expected four numbers"),
        ("a.png,,crack,,nan,2,3,4", "expected finite numbers"),
        ("a.png,,crack,,1,2,inf,4", "expected finite numbers"),
        ("a.png,,crack,,1,2,-3,4", "a positive size"),
        ("a.png,,crack,,1,2,0,4", "a positive size"),
        ("a.png,,crack,,40,2,30,4", "outside its image"),
        ("a.png,,crack;hole,,1,2,3,4", "expected one defect"),
        ("a.png,,good,,1,2,3,4", "expected one defect"),
        ("a.png,m.png,crack,,1,2,3,4", "has a mask and boxes"),
        ("a.png,m.png,crack;hole,,,,,", "which grey is which"),
        ("a.png,gone.png,crack,,,,,", "mask 'gone.png' is missing"),
        ("a.png,../m.png,crack,,,,,", "leads out of the data root"),
        ("a.png,,crack,weekend,,,,", "split is 'weekend', expected train"),
        ("a.png,,crack,unlabelled,,,,", "is unlabelled and has a label"),
        ("a.png,,crack;good,,,,,", "is good and has crack"),
        ("a.png,,crack,,,,,,,", "more cells than the header"),
        ("gone.png,,crack,,,,,", "image 'gone.png' is missing"),
        (",,crack,,,,,", "is no relative path"),
        ("../a.png,,crack,,,,,", "leads out of the data root"),
        ("/etc/a.png,,crack,,,,,", "expected one below the data root"),
        ("C:\\a.png,,crack,,,,,", "expected one below the data root"),
    ],
)
def test_bad_row_is_one_line_for_its_picture(tmp_path, row, words):
    header = "image,mask,type,split,left,top,width,height"
    bad, good = read(tmp_path, f"{header}\n{row}\nx/b c.PNG,,hole,train,,,,\n")
    assert words in inspect(bad, tmp_path).problem
    assert inspect(good, tmp_path).problem == ""


def test_rows_that_contradict_each_other_are_a_flaw(tmp_path):
    (record,) = read(tmp_path, "image,type,group\na.png,crack,b7\na.png,hole,b8\n")
    assert "line 3: group is 'b8', an earlier row says 'b7'" in record.flaw


def test_two_spellings_of_a_picture_are_a_flaw(tmp_path):
    (record,) = read(tmp_path, "image,type\na.png,crack\n./a.png,hole\n")
    assert "under two spellings" in record.flaw


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"", "has the columns none: expected image"),
        (b"file,type\na.png,crack\n", "has the columns file, type: expected image"),
        (b"image,captoin\na.png,x\n", "unknown column 'captoin': expected caption"),
        (b"image,image\na.png,a.png\n", "each once"),
        (b"image,type\n", "has no rows"),
        (b"image,type\na.png,H\xf6hle\n", "is not UTF-8 text"),
        (b'image,type\na.png,"' + b"x" * 200_000 + b'"\n', "no readable CSV"),
    ],
)
def test_bad_table_is_one_clear_line(tmp_path, text, words):
    with pytest.raises(ValueError, match=words) as error:
        read(tmp_path, text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("settings", [{"largest_good_grey": -1}, {"mask_ids": {"a": 70000}}])
def test_grey_that_no_mask_has_is_one_clear_line(settings):
    with pytest.raises(ValueError, match="expected a grey value from 0 to 65534"):
        Csv(**settings)


@pytest.mark.parametrize("table", ["gone.csv", "link.csv"])
def test_missing_or_linked_table_is_one_clear_line(tmp_path, table):
    (tmp_path / "link.csv").symlink_to(tmp_path / "records.csv")
    with pytest.raises(FileNotFoundError, match=r"expected records\.csv"):
        read(tmp_path, "image\na.png\n", table=table)
