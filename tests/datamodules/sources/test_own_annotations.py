"""What is read from users' own tables and from the files of COCO, labelme and YOLO."""

import json
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from datamodules.annotation import draw_region, draw_regions
from datamodules.preparing.inspection import inspect
from datamodules.sample import UNLABELLED, MaskValues, Record
from datamodules.sources.coco import Coco, decode_counts
from datamodules.sources.csv import Csv
from datamodules.sources.labelme import Labelme
from datamodules.sources.yolo import Yolo
from datamodules.vocabulary import Vocabulary
from tests.datamodules.sources.own_layouts import (
    YOLO_BOX,
    YOLO_POLYGON,
    add_coco,
    add_labelme,
    add_yolo,
    annotation,
    shape,
    write_shapes,
    write_text,
)
from tests.datamodules.sources.painting import save, spot, texture

VOCABULARY = Vocabulary.from_names(["pin hole", "crack"])
YAML = "names: [hole, crack]\n"


def read_coco(root: Path, **annotated: object) -> Record:
    """The one record of a set with one image and one annotation of pin holes."""
    add_coco(root, "instances.json", ["images/a.png"], [annotation(1, 3, **annotated)])
    (record,) = Coco().records(root)
    return record


def mask_of(record: Record) -> np.ndarray:
    return draw_regions(record.regions, vocabulary=VOCABULARY, size_px=(40, 50))


@pytest.mark.parametrize("is_compressed", [True, False])
def test_run_lengths_come_back_without_loss(tmp_path, is_compressed):
    mask = np.random.default_rng(0).random((40, 50)) < 0.3
    coded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [0]])))
    counts = np.diff(np.concatenate([[0], edges, [2000]])).tolist()
    text = coded["counts"].decode() if is_compressed else counts
    record = read_coco(tmp_path, segmentation={"size": [40, 50], "counts": text})
    assert coco_mask.encode(np.asfortranarray(mask_of(record).astype(np.uint8))) == coded


def test_long_counts_survive_their_letters():
    counts = [3_000_000, 1, 7_000_000, 2_999_999, 5]
    text = coco_mask.frPyObjects({"size": [3250, 4000], "counts": counts}, 3250, 4000)["counts"]
    assert decode_counts(text.decode()) == counts


@pytest.mark.parametrize("outline", [None, [], [[]]])
def test_without_outline_the_box_counts(tmp_path, outline):
    record = read_coco(tmp_path, segmentation=outline, bbox=[5, 10, 15, 10])
    assert record.mask_kind == "box" and mask_of(record).sum() == 150


def test_annotation_without_place_still_names_its_type(tmp_path):
    record = read_coco(tmp_path)
    assert (record.defects, record.mask_kind) == (("pin hole",), "none")


@pytest.mark.parametrize(
    ("file", "annotations", "answer", "split"),
    [
        ("instances_train.json", [], "good", "train"),
        ("instances_train.json", [], "unlabelled", UNLABELLED),
        ("image_info_test2017.json", None, "good", UNLABELLED),
    ],
)
def test_setting_says_what_unannotated_coco_images_are(tmp_path, file, annotations, answer, split):
    add_coco(tmp_path, file, ["images/a.png"], annotations)
    (record,) = Coco(unannotated=answer).records(tmp_path)
    assert (record.split, record.defects) == (split, ())


def test_coco_names_of_two_splits_do_not_mix(tmp_path):
    add_coco(tmp_path, "instances_train2017.json", ["train2017/1.png"], [])
    add_coco(tmp_path, "instances_val2017.json", ["images/val2017/1.png"], [])
    found = {record.image: record.split for record in Coco().records(tmp_path)}
    assert found == {"train2017/1.png": "train", "images/val2017/1.png": "val"}


@pytest.mark.parametrize(
    ("file", "image", "name", "is_missing"),
    [
        ("instances_train.json", "images/val/1.png", "1.png", True),
        ("instances_train2017.json", "val2017/1.png", "1.png", True),
        ("instances_train.json", "images/val/1.png", "val/1.png", False),
        ("instances_train.json", "images/line 1/1.png", "1.png", False),
        ("instances.json", "images/val/1.png", "1.png", False),
    ],
)
def test_image_in_the_folder_of_another_coco_split_is_missing(
    tmp_path, file, image, name, is_missing
):
    add_coco(tmp_path, file, [image], [])
    path = tmp_path / "annotations" / file
    images = {"images": [{"id": 1, "file_name": name}]}
    path.write_text(json.dumps(json.loads(path.read_text()) | images))
    (record,) = Coco().records(tmp_path)
    assert (record.flaw == "") != is_missing
    assert ("is missing" in record.flaw) == is_missing and (record.image != image) == is_missing


@pytest.mark.parametrize("fields", [None, {"product": 5}, ["plate"], {"colour": "red"}])
def test_caption_that_is_not_six_texts_is_a_flaw(tmp_path, fields):
    read_coco(tmp_path, bbox=[1, 1, 4, 4])
    path = tmp_path / "annotations/instances.json"
    content = json.loads(path.read_text())
    content["images"][0]["caption_fields"] = fields
    path.write_text(json.dumps(content))
    assert "not the six of the template" in Coco().records(tmp_path)[0].flaw


def test_roboflow_keeps_its_coco_file_beside_the_images(tmp_path):
    name = "_annotations.coco.json"
    add_coco(tmp_path, name, ["valid/a_png.rf.1.png"], [])
    (tmp_path / "annotations" / name).rename(tmp_path / "valid" / name)
    (record,) = Coco(annotations=f"*/{name}").records(tmp_path)
    assert (record.image, record.split) == ("valid/a_png.rf.1.png", "val")
    assert record.group == "coco_valid/a_png"


def test_images_setting_is_the_only_place(tmp_path):
    add_coco(tmp_path, "instances.json", ["shots/line 1/a.png", "images/a.png"], [])
    path = tmp_path / "annotations/instances.json"
    images = {"images": [{"id": 1, "file_name": "a.png"}]}
    path.write_text(json.dumps(json.loads(path.read_text()) | images))
    assert Coco(images="shots/line 1").records(tmp_path)[0].image == "shots/line 1/a.png"


def test_image_in_two_coco_files_is_a_flaw_with_both_names(tmp_path):
    for file in ("instances_train.json", "instances_val.json"):
        add_coco(tmp_path, file, ["images/a.png"], [])
    (record,) = Coco().records(tmp_path)
    assert "instances_train.json image 1 and as annotations/instances_val" in record.flaw


def read_csv(root: Path, text: str, **settings: object) -> list[Record]:
    """The records of a table beside the image a.png and the mask m.png."""
    save(root / "a.png", texture(0))
    save(root / "m.png", spot(200))
    (root / "records.csv").write_text(text, encoding="utf-8")
    return Csv(**settings).records(root)


@pytest.mark.parametrize(
    ("ids", "flaw"),
    [
        ({"crack": 200}, "the image is good, but its mask"),
        ({"good": 200, "crack": 0}, "the image is good, but its mask"),
        ({"good": 200, "crack": 9}, ""),
    ],
)
def test_ids_of_defects_in_the_mask_of_a_good_part_are_a_flaw(tmp_path, ids, flaw):
    (record,) = read_csv(tmp_path, "image,mask,type\na.png,m.png,OK\n", mask_ids=ids)
    assert flaw in record.flaw and bool(flaw) == bool(record.flaw)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_any_delimiter_and_case_of_the_header_is_read(tmp_path, delimiter):
    text = "\ufeff Image ,TYPE,Split\r\na.png,Pin-Hole,valid\r\n".replace(",", delimiter)
    (record,) = read_csv(tmp_path, text)
    assert (record.defects, record.split) == (("pin hole",), "val")


@pytest.mark.parametrize("largest", [127, 0])
def test_setting_says_where_a_mask_begins(tmp_path, largest):
    text = "image,mask,type\na.png,m.png,hole\n"
    (record,) = read_csv(tmp_path, text, largest_good_grey=largest)
    hole = MaskValues(largest + 1, 65535, "hole")
    assert record.mask_values == (MaskValues(0, largest, "good"), hole)


@pytest.mark.parametrize(
    ("ids", "defect"), [({"Pin-Hole": 200, "crack": 9}, "pin hole"), (None, "defect")]
)
def test_ids_tell_the_types_of_a_mask_without_type(tmp_path, ids, defect):
    (record,) = read_csv(tmp_path, "image,mask\na.png,m.png\n", mask_ids=ids)
    assert inspect(record, tmp_path).record.defects == (defect,)


def read_labelme(root: Path, **changed: object) -> Record:
    """The one record of an image with one shape, changed."""
    add_labelme(root, "a.png", shape("crack") | changed)
    (record,) = Labelme().records(root)
    return record


def drawn(record: Record) -> np.ndarray:
    (region,) = record.regions
    return draw_region(region, size_px=(40, 50))


def test_rectangle_is_a_box_from_any_corner_and_a_circle_has_its_area(tmp_path):
    box = read_labelme(tmp_path, shape_type="rectangle", points=[[20, 20], [5, 10]])
    assert (box.regions[0].numbers, box.mask_kind) == ((5, 10, 15, 10), "box")
    circle = read_labelme(tmp_path, shape_type="circle", points=[[25, 20], [25, 32]])
    assert circle.mask_kind == "pixel"
    assert drawn(circle).sum() == pytest.approx(np.pi * 12**2, rel=0.01)


def test_stale_path_gives_way_to_the_name_of_the_json(tmp_path):
    save(tmp_path / "new.png", texture(0))
    write_shapes(tmp_path / "new.json", "old.png", shape("crack"))
    (tmp_path / "settings.json").write_text('{"x": 1}')
    assert [record.image for record in Labelme().records(tmp_path)] == ["new.png"]


@pytest.mark.parametrize(("answer", "split"), [("unlabelled", UNLABELLED), ("good", "train")])
def test_setting_says_what_an_image_without_file_is(tmp_path, answer, split):
    write_text(tmp_path / "data.yaml", YAML + "train: images/train")
    add_yolo(tmp_path, "train/a.png", None)
    add_yolo(tmp_path, "train/b.png", "")
    add_labelme(tmp_path, "train/c.png")
    found = {r.image: r.split for r in Yolo(unannotated=answer).records(tmp_path)}
    assert found == {"images/train/a.png": split, "images/train/b.png": "train"}
    found = {r.image: r.split for r in Labelme(unannotated=answer).records(tmp_path)}
    assert (found["images/train/a.png"], found["train/c.png"]) == (split, "train")


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
        "path: {root}\ntrain: {root}/images/train",
        "train: list.txt",
        "names: {0: hole, 1: crack}\ntrain: images/train",
        "",
    ],
)
def test_folder_of_a_yolo_split_is_found_however_it_is_written(tmp_path, places):
    write_text(tmp_path / "data.yaml", YAML + places.replace("{root}", str(tmp_path)))
    add_yolo(tmp_path, "train/a b.JPG", YOLO_BOX)
    (tmp_path / "list.txt").write_text("./images/train/a b.JPG\n\n", encoding="utf-8")
    found = {record.image: record.split for record in Yolo().records(tmp_path)}
    assert found == {"images/train/a b.JPG": "train"}


def test_two_images_of_one_yolo_label_are_flaws(tmp_path):
    write_text(tmp_path / "data.yaml", YAML)
    for name in ("train/a.png", "train/A.jpg", "train/b.png", "val/a.png"):
        add_yolo(tmp_path, name, YOLO_BOX)
    (tmp_path / "labels/train/A.txt").unlink()
    found = {record.image: record.flaw for record in Yolo().records(tmp_path)}
    flawed = {image for image, flaw in found.items() if "expected one image of a name" in flaw}
    assert len(found) == 4 and flawed == {"images/train/a.png", "images/train/A.jpg"}


def test_yolo_layout_of_roboflow_is_read(tmp_path):
    write_text(tmp_path / "data.yaml", YAML + "train: ../train/images\nval: ../valid/images")
    save(tmp_path / "train/images/a_jpg.rf.1.jpg", texture(0))
    save(tmp_path / "valid/images/b.jpg", texture(1))
    (tmp_path / "train/labels").mkdir()
    (tmp_path / "train/labels/a_jpg.rf.1.txt").write_text(YOLO_POLYGON)
    first, second = Yolo().records(tmp_path)
    assert (first.defects, first.group) == (("crack",), "yolo_train/images/a_jpg")
    assert second.split == UNLABELLED


@pytest.mark.parametrize("line", ["/etc/a.png", "../../a.png", "images/train/gone.png"])
def test_line_of_a_yolo_list_that_leads_nowhere_is_a_flaw(tmp_path, line):
    write_text(tmp_path / "data.yaml", YAML + "train: list.txt")
    add_yolo(tmp_path, "train/a.png", YOLO_BOX)
    (tmp_path / "list.txt").write_text(f"images/train/a.png\n{line}\n")
    good, bad = Yolo().records(tmp_path)
    assert good.flaw == "" and "expected an image below the root" in bad.flaw
