"""YOLO's layouts, what is unlabelled in them, and what is refused."""

from pathlib import Path

import pytest
from PIL import Image

from datamodules.preparing.inspection import inspect
from datamodules.sample import UNLABELLED
from datamodules.sources.yolo import Yolo, label_path
from tests.datamodules.sources.layouts.yolo import BOX, POLYGON, add, write_yolo
from tests.datamodules.sources.painting import save, texture

NAMES = "names: [hole, crack]\n"


def splits_of(root: Path) -> dict[str, str]:
    return {record.image: record.split for record in Yolo().records(root)}


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/train/a.png", "labels/train/a.txt"),
        ("train/images/a b.JPG", "train/labels/a b.txt"),
        ("images/x/images/a.b.png", "images/x/labels/a.b.txt"),
        ("shots/a.png", "shots/a.txt"),
    ],
)
def test_label_lies_in_labels_where_the_picture_lies_in_images(image, label):
    assert label_path(image) == label


@pytest.mark.parametrize(("answer", "split"), [("unlabelled", UNLABELLED), ("good", "train")])
def test_setting_says_what_a_picture_without_text_is(tmp_path, answer, split):
    write_yolo(tmp_path, NAMES + "train: images/train")
    add(tmp_path, "train/a.png", None)
    (record,) = Yolo(unannotated=answer).records(tmp_path)
    assert (record.split, record.defects) == (split, ())


def test_empty_text_is_a_good_picture(tmp_path):
    write_yolo(tmp_path, NAMES + "train: images/train")
    add(tmp_path, "train/a.png", "")
    assert splits_of(tmp_path) == {"images/train/a.png": "train"}


@pytest.mark.parametrize(
    "places",
    [
        "train: images/train",
        "path: .\ntrain: images/train/",
        "path: /content/mine\ntrain: ./images/train",
        "path: ../datasets/mine\ntrain: [images/train]",
        "path: images\ntrain: train",
        "train: ../images/train",
        "train: images\\train",
        "train: list.txt",
        "",
    ],
)
def test_folder_of_a_split_is_found_however_it_is_written(tmp_path, places):
    write_yolo(tmp_path, NAMES + places)
    add(tmp_path, "train/a b.JPG", BOX)
    (tmp_path / "list.txt").write_text("./images/train/a b.JPG\n\n", encoding="utf-8")
    assert splits_of(tmp_path) == {"images/train/a b.JPG": "train"}


def test_absolute_folder_below_the_root_is_found(tmp_path):
    write_yolo(
        tmp_path, f"{NAMES}path: {tmp_path}\ntrain: {tmp_path}/images/train\nval: images/val"
    )
    add(tmp_path, "train/a.png", BOX)
    add(tmp_path, "val/a.png", BOX)
    assert set(splits_of(tmp_path).values()) == {"train", "val"}


def test_roboflow_layout_is_read(tmp_path):
    write_yolo(tmp_path, NAMES + "train: ../train/images\nval: ../valid/images")
    save(tmp_path / "train/images/a_jpg.rf.1.jpg", texture(0))
    save(tmp_path / "valid/images/b.jpg", texture(1))
    (tmp_path / "train/labels").mkdir()
    (tmp_path / "train/labels/a_jpg.rf.1.txt").write_text(POLYGON)
    first, second = Yolo().records(tmp_path)
    assert (first.defects, first.group) == (("crack",), "yolo_train/images/a_jpg")
    assert second.split == UNLABELLED


@pytest.mark.parametrize("place", ["images/test", "/data/images", "../../x", "gone.txt"])
def test_folder_that_is_not_there_is_one_clear_line(tmp_path, place):
    write_yolo(tmp_path, f"{NAMES}train: {place}")
    add(tmp_path, "train/a.png", BOX)
    with pytest.raises(ValueError, match=r"expected paths below it") as error:
        Yolo().records(tmp_path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("line", ["/etc/a.png", "../../a.png", "images/train/gone.png"])
def test_line_of_a_list_that_leads_nowhere_is_a_flaw(tmp_path, line):
    write_yolo(tmp_path, NAMES + "train: list.txt")
    add(tmp_path, "train/a.png", BOX)
    (tmp_path / "list.txt").write_text(f"images/train/a.png\n{line}\n")
    good, bad = Yolo().records(tmp_path)
    assert good.flaw == ""
    assert "expected an image below the root" in bad.flaw


def test_picture_in_two_splits_is_a_flaw(tmp_path):
    write_yolo(tmp_path, NAMES + "train: images/train\nval: images/train")
    add(tmp_path, "train/a.png", BOX)
    assert "is in the splits train and val" in Yolo().records(tmp_path)[0].flaw


@pytest.mark.parametrize("label", ["9 0.5 0.5 0.1 0.1", "0 1", "0 50 50 9 9", "x"])
def test_bad_label_leaves_the_other_pictures_whole(tmp_path, label):
    write_yolo(tmp_path, NAMES + "train: images/train")
    add(tmp_path, "train/a.png", label)
    add(tmp_path, "train/b.png", BOX)
    bad, good = Yolo().records(tmp_path)
    assert "a.txt line 1" in bad.flaw
    assert inspect(good, tmp_path).problem == ""


def test_box_that_sticks_out_is_refused_by_inspection(tmp_path):
    write_yolo(tmp_path, NAMES + "train: images/train")
    add(tmp_path, "train/a.png", "0 0.9 0.5 0.5 0.1")
    assert "outside its image" in inspect(Yolo().records(tmp_path)[0], tmp_path).problem


def test_broken_picture_is_a_flaw(tmp_path):
    write_yolo(tmp_path, NAMES + "train: images/train")
    add(tmp_path, "train/a.png", BOX)
    (tmp_path / "images/train/a.png").write_bytes(b"\x89PNG")
    assert "is not a readable image" in Yolo().records(tmp_path)[0].flaw


@pytest.mark.parametrize(("label", "is_refused"), [(BOX, True), ("", False)])
def test_labelled_picture_that_exif_turns_is_a_flaw(tmp_path, label, is_refused):
    write_yolo(tmp_path, NAMES + "train: images/train")
    add(tmp_path, "train/a.jpg", label)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (50, 40)).save(tmp_path / "images/train/a.jpg", exif=exif)
    assert ("EXIF orientation 6" in Yolo().records(tmp_path)[0].flaw) == is_refused


def test_missing_yaml_is_one_clear_line(tmp_path):
    add(tmp_path, "train/a.png", BOX)
    with pytest.raises(FileNotFoundError, match=r"holds no data\.yaml: expected"):
        Yolo().records(tmp_path)
