"""Pascal VOC files: what is read from them, and what is refused."""

from pathlib import Path

import pytest

from datamodules.formats.voc import LARGEST_FILE_BYTES, VocPicture, read_boxes, read_folders
from datamodules.sample import Region

NAMES = {"pin-hole": "pin hole"}
BOX = "<xmin>1</xmin><ymin>11</ymin><xmax>5</xmax><ymax>20</ymax>"


def voc(boxes: str = BOX, *, name: str = "pin-hole") -> str:
    return f"<annotation><object><name>{name}</name><bndbox>{boxes}</bndbox></object></annotation>"


def save(folder: Path, content: str | bytes) -> Path:
    path = folder / "a.xml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.mark.parametrize(
    "text", [voc(), "\ufeff" + voc(), '<?xml version="1.0" encoding="utf-8"?>' + voc()]
)
def test_corners_counted_from_one_become_a_box_counted_from_zero(tmp_path, text):
    boxes = read_boxes(save(tmp_path, text), names=NAMES)
    assert boxes == (Region("pin hole", "box", (0, 10, 5, 10)),)


def test_file_without_objects_has_no_boxes(tmp_path):
    assert read_boxes(save(tmp_path, "<annotation/>"), names=NAMES) == ()


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


def test_pictures_and_files_meet_by_their_stems(tmp_path):
    for folder in ("images", "boxes"):
        (tmp_path / folder).mkdir()
    for name in ("a.JPG", "b.jpg", "._a.jpg", "notes.txt"):
        (tmp_path / "images" / name).touch()
    (tmp_path / "boxes/a.xml").write_text("<annotation/>")
    (tmp_path / "boxes/c.xml").write_text("<annotation/>")
    assert read_folders(tmp_path, "images", "boxes", names=NAMES) == [
        VocPicture("images/a.JPG", has_file=True),
        VocPicture("images/b.jpg"),
        VocPicture("images/c.jpg", has_file=True),
    ]


def test_one_bad_file_does_not_hide_the_others(tmp_path):
    for folder in ("images", "boxes"):
        (tmp_path / folder).mkdir()
    for stem, text in (("a", "<"), ("b", voc())):
        (tmp_path / f"images/{stem}.jpg").touch()
        (tmp_path / f"boxes/{stem}.xml").write_text(text)
    bad, good = read_folders(tmp_path, "images", "boxes", names=NAMES)
    assert "no readable XML" in bad.flaw
    assert len(good.boxes) == 1


@pytest.mark.parametrize("missing", ["images", "boxes"])
def test_missing_folder_is_one_clear_line(tmp_path, missing):
    for folder in {"images", "boxes"} - {missing}:
        (tmp_path / folder).mkdir()
    with pytest.raises(FileNotFoundError, match=f"{missing} is missing: expected"):
        read_folders(tmp_path, "images", "boxes", names=NAMES)
