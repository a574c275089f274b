"""Pascal VOC files: what is read from them, and what is refused."""

import pytest

from datamodules.formats.voc import VocImage, read_boxes, read_folders
from datamodules.sample import Region

NAMES = {"pin-hole": "pin hole"}
BOX = "<xmin>1</xmin><ymin>11</ymin><xmax>5</xmax><ymax>20</ymax>"
READ = (Region("pin hole", "box", (0, 10, 5, 10)),)
VOC = f"<annotation><object><name>pin-hole</name><bndbox>{BOX}</bndbox></object></annotation>"


@pytest.mark.parametrize("head", ["", "\ufeff", '<?xml version="1.0" encoding="utf-8"?>'])
def test_corners_counted_from_one_become_a_box_counted_from_zero(tmp_path, head):
    (tmp_path / "a.xml").write_text(head + VOC, encoding="utf-8")
    assert read_boxes(tmp_path / "a.xml", names=NAMES) == READ


def test_images_and_files_meet_by_their_stems_and_a_bad_file_hides_no_other(tmp_path):
    for folder in ("images", "boxes"):
        (tmp_path / folder).mkdir()
    for name in ("a.JPG", "b.jpg", "d.jpg", "._a.jpg", "notes.txt"):
        (tmp_path / "images" / name).touch()
    for stem, text in (("a", VOC), ("c", "<annotation/>"), ("d", "<")):
        (tmp_path / f"boxes/{stem}.xml").write_text(text)
    *found, bad = read_folders(tmp_path, "images", "boxes", names=NAMES)
    assert found == [
        VocImage("images/a.JPG", READ),
        VocImage("images/b.jpg"),
        VocImage("images/c.jpg"),
    ]
    assert "no readable XML" in bad.flaw
