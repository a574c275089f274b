"""Pascal VOC files: what is read from them, and what is refused."""

from pathlib import Path

import pytest

from datamodules.formats.voc import LARGEST_FILE_BYTES, VocImage, read_boxes, read_folders
from datamodules.sample import Region

NAMES = {"pin-hole": "pin hole"}
BOX = "<xmin>1</xmin><ymin>11</ymin><xmax>5</xmax><ymax>20</ymax>"
READ = (Region("pin hole", "box", (0, 10, 5, 10)),)


def voc(boxes: str = BOX, *, name: str = "pin-hole") -> str:
    return f"<annotation><object><name>{name}</name><bndbox>{boxes}</bndbox></object></annotation>"


def save(folder: Path, content: str | bytes) -> Path:
    path = folder / "a.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    ("text", "boxes"),
    [
        (voc(), READ),
        ("\ufeff" + voc(), READ),
        ('<?xml version="1.0" encoding="utf-8"?>' + voc(), READ),
        ("<annotation/>", ()),
    ],
)
def test_corners_counted_from_one_become_a_box_counted_from_zero(tmp_path, text, boxes):
    assert read_boxes(save(tmp_path, text), names=NAMES) == boxes


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no readable XML"),
        ("<annotation><object>", "no readable XML"),
        (voc().encode("utf-16"), "no readable XML in UTF-8"),
        (voc(name="Höhle").encode("latin-1"), "no readable XML in UTF-8"),
        ('<!DOCTYPE a [<!ENTITY b "c">]>' + voc(name="&b;"), "DOCTYPE or ENTITY"),
        (b" " * (LARGEST_FILE_BYTES + 1), "more than"),
        (voc(name="rust"), "object 1 of .* is a 'rust', expected one of pin-hole"),
        (voc(name=""), "is a ''"),
        (voc(BOX.replace("5", "five")), "expected four numbers"),
        (voc(BOX.replace("xmax", "max")), "expected four numbers"),
    ],
)
def test_unusable_file_is_one_clear_line(tmp_path, content, words):
    with pytest.raises(ValueError, match=words) as error:
        read_boxes(save(tmp_path, content), names=NAMES)
    assert "\n" not in str(error.value)


def test_images_and_files_meet_by_their_stems_and_a_bad_file_hides_no_other(tmp_path):
    for folder in ("images", "boxes"):
        (tmp_path / folder).mkdir()
    for name in ("a.JPG", "b.jpg", "d.jpg", "._a.jpg", "notes.txt"):
        (tmp_path / "images" / name).touch()
    for stem, text in (("a", voc()), ("c", "<annotation/>"), ("d", "<")):
        (tmp_path / f"boxes/{stem}.xml").write_text(text)
    *found, bad = read_folders(tmp_path, "images", "boxes", names=NAMES)
    assert found == [
        VocImage("images/a.JPG", READ),
        VocImage("images/b.jpg"),
        VocImage("images/c.jpg"),
    ]
    assert "no readable XML" in bad.flaw


@pytest.mark.parametrize("missing", ["images", "boxes"])
def test_missing_folder_is_one_clear_line(tmp_path, missing):
    for folder in {"images", "boxes"} - {missing}:
        (tmp_path / folder).mkdir()
    with pytest.raises(FileNotFoundError, match=f"{missing} is missing: expected"):
        read_folders(tmp_path, "images", "boxes", names=NAMES)
