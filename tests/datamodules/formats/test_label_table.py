"""labels.csv: rows to labels; what it refuses is tested with `sources/folder.py`."""

from datamodules.formats.label_table import Label, defect_name, read_labels


def test_no_file_means_no_labels(tmp_path):
    assert read_labels(tmp_path, []) == {}


def test_rows_become_labels_of_their_pictures(tmp_path):
    (tmp_path / "labels.csv").write_text("image,type,group\nx/a.png,Pin_Hole,board 7\n")
    image = tmp_path / "images" / "x" / "a.png"
    assert read_labels(tmp_path, [image]) == {image: Label("pin hole", "", "board 7")}


def test_a_byte_order_mark_of_spreadsheets_is_harmless(tmp_path):
    (tmp_path / "labels.csv").write_bytes(b"\xef\xbb\xbfimage,type\na.png,good\n")
    image = tmp_path / "images" / "a.png"
    assert read_labels(tmp_path, [image]) == {image: Label("")}


def test_words_for_good_are_no_defect():
    assert {defect_name(word) for word in ("Good", "ok", "NORMAL", "no_defect")} == {""}
