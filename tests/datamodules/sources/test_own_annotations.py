"""What is read from users' own tables and from the files of COCO, labelme and YOLO."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from datamodules.annotation import draw_region, draw_regions
from datamodules.preparing.inspection import inspect
from datamodules.sample import UNLABELLED, MaskValues, Record
from datamodules.sources.coco import Coco
from datamodules.sources.csv import Csv
from datamodules.sources.labelme import Labelme
from datamodules.sources.yolo import Yolo, label_path
from datamodules.vocabulary import Vocabulary
from tests.datamodules.sources.layouts import labelme
from tests.datamodules.sources.layouts.coco import SQUARE, annotation, write_coco
from tests.datamodules.sources.layouts.yolo import BOX, POLYGON, add, write_yolo
from tests.datamodules.sources.painting import save, spot, texture

VOCABULARY = Vocabulary.from_names(["pin hole", "crack"])
YAML = "names: [hole, crack]\n"


def read_coco(root: Path, **annotated: object) -> Record:
    """The one record of a set with one image and one annotation of pin holes."""
    write_coco(root, "instances.json", ["images/a.png"], [annotation(1, 3, **annotated)])
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


def test_all_parts_of_a_polygon_are_drawn(tmp_path):
    record = read_coco(tmp_path, segmentation=[SQUARE, [30, 5, 34, 5, 34, 9, 30, 9]])
    mask = mask_of(record)
    assert record.mask_kind == "pixel" and mask.sum() == 15 * 10 + 4 * 4
    assert mask[10:20, 5:20].all() and mask[5:9, 30:34].all()


@pytest.mark.parametrize("outline", [None, [], [[]]])
def test_without_outline_the_box_counts(tmp_path, outline):
    record = read_coco(tmp_path, segmentation=outline, bbox=[5, 10, 15, 10])
    assert record.mask_kind == "box" and mask_of(record).sum() == 150


def test_annotation_without_place_still_names_its_type(tmp_path):
    record = read_coco(tmp_path)
    assert (record.defects, record.mask_kind) == (("pin hole",), "none")


def test_small_overhang_is_cut(tmp_path):
    assert inspect(read_coco(tmp_path, bbox=[-1, -1, 10, 10]), tmp_path).problem == ""


@pytest.mark.parametrize(
    ("file", "annotations", "answer", "split"),
    [
        ("instances_train.json", [], "good", "train"),
        ("instances_train.json", [], "unlabelled", UNLABELLED),
        ("image_info_test2017.json", None, "good", UNLABELLED),
    ],
)
def test_setting_says_what_unannotated_coco_images_are(tmp_path, file, annotations, answer, split):
    write_coco(tmp_path, file, ["images/a.png"], annotations)
    (record,) = Coco(unannotated=answer).records(tmp_path)
    assert (record.split, record.defects) == (split, ())


def test_coco_names_of_two_splits_do_not_mix(tmp_path):
    write_coco(tmp_path, "instances_train2017.json", ["train2017/1.png"], [])
    write_coco(tmp_path, "instances_val2017.json", ["images/val2017/1.png"], [])
    found = {record.image: record.split for record in Coco().records(tmp_path)}
    assert found == {"train2017/1.png": "train", "images/val2017/1.png": "val"}


def test_roboflow_keeps_its_coco_file_beside_the_images(tmp_path):
    name = "_annotations.coco.json"
    write_coco(tmp_path, name, ["valid/a_png.rf.1.png"], [])
    (tmp_path / "annotations" / name).rename(tmp_path / "valid" / name)
    (record,) = Coco(annotations=f"*/{name}").records(tmp_path)
    assert (record.image, record.split) == ("valid/a_png.rf.1.png", "val")
    assert record.group == "coco_valid/a_png"


def test_images_setting_is_the_only_place(tmp_path):
    write_coco(tmp_path, "instances.json", ["shots/line 1/a.png", "images/a.png"], [])
    path = tmp_path / "annotations/instances.json"
    images = {"images": [{"id": 1, "file_name": "a.png"}]}
    path.write_text(json.dumps(json.loads(path.read_text()) | images))
    assert Coco(images="shots/line 1").records(tmp_path)[0].image == "shots/line 1/a.png"


def test_image_in_two_coco_files_is_a_flaw_with_both_names(tmp_path):
    for file in ("instances_train.json", "instances_val.json"):
        write_coco(tmp_path, file, ["images/a.png"], [])
    (record,) = Coco().records(tmp_path)
    assert "instances_train.json image 1 and as annotations/instances_val" in record.flaw


@pytest.mark.parametrize("pattern", ["", "/annotations/*.json", "../*.json", "labels/*.json"])
def test_pattern_without_file_below_the_root_is_one_clear_line(tmp_path, pattern):
    write_coco(tmp_path, "instances.json", ["images/a.png"], [])
    words = "below the root|but annotations/instances.json"
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        Coco(annotations=pattern).records(tmp_path)


def read_csv(root: Path, text: str, **settings: object) -> list[Record]:
    """The records of a table beside the images a.png, x/b c.PNG and the mask m.png."""
    save(root / "a.png", texture(0))
    save(root / "x/b c.png", texture(1))
    (root / "x/b c.png").rename(root / "x/b c.PNG")
    save(root / "m.png", spot(200))
    (root / "records.csv").write_text(text, encoding="utf-8")
    return Csv(**settings).records(root)


def test_image_alone_in_a_table_is_unlabelled(tmp_path):
    first, second = read_csv(tmp_path, "image\na.png\nx\\b c.PNG\n")
    assert (first.split, first.defects) == (UNLABELLED, ())
    assert second.image == "x/b c.PNG"


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_any_delimiter_and_case_of_the_header_is_read(tmp_path, delimiter):
    text = "\ufeff Image ,TYPE,Split\r\na.png,Pin-Hole,valid\r\n".replace(",", delimiter)
    (record,) = read_csv(tmp_path, text)
    assert (record.defects, record.split) == (("pin hole",), "val")


def test_rows_of_an_image_add_boxes(tmp_path):
    rows = "a.png,crack,1,2,3,4\na.png,hole,5,10,15.5,10\n"
    (record,) = read_csv(tmp_path, f"image,type,left,top,width,height\n{rows}")
    assert record.defects == ("hole", "crack")
    assert [region.numbers for region in record.regions] == [(1, 2, 3, 4), (5, 10, 15.5, 10)]


def test_row_words_go_before_the_settings(tmp_path):
    text = 'image,type,product,group,licence,caption\na.png,hole,tile,b7,CC0-1.0,"A hole, so"\n'
    (record,) = read_csv(tmp_path, text, material="clay")
    assert (record.caption.product, record.caption.material) == ("tile", "clay")
    assert (record.group, record.licence) == ("csv_b7", "CC0-1.0")
    assert record.released_caption == "A hole, so"


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


@pytest.mark.parametrize("settings", [{"largest_good_grey": -1}, {"mask_ids": {"a": 70000}}])
def test_grey_that_no_mask_has_is_one_clear_line(settings):
    with pytest.raises(ValueError, match="expected a grey value from 0 to 65534"):
        Csv(**settings)


def read_labelme(root: Path, **changed: object) -> Record:
    """The one record of an image with one shape, changed."""
    labelme.add(root, "a.png", [labelme.shape("crack") | changed])
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


def test_mask_of_labelme_lies_where_its_points_say(tmp_path):
    mask = np.random.default_rng(0).random((6, 8)) < 0.5
    points = [[30, 20], [37, 25]]
    record = read_labelme(tmp_path, shape_type="mask", points=points, mask=labelme.png(mask))
    whole = np.zeros((40, 50), bool)
    whole[20:26, 30:38] = mask
    assert (drawn(record) == whole).all()


def test_flag_that_is_set_names_the_type_and_no_shape_means_good(tmp_path):
    labelme.add(tmp_path, "a.png", [], flags={"stain": True, "dent": False})
    labelme.add(tmp_path, "train/b.png", [])
    flagged, good = Labelme().records(tmp_path)
    assert flagged.defects == ("stain",)
    assert (good.split, good.defects, good.mask_kind) == ("train", (), "none")


@pytest.mark.parametrize(
    "written", ["..\\images\\a b.PNG", "C:\\x\\images\\a b.PNG", "/x/a b.PNG", "a b.PNG"]
)
def test_image_is_found_from_the_path_in_the_json(tmp_path, written):
    save(tmp_path / "images/a b.png", texture(0))
    (tmp_path / "images/a b.png").rename(tmp_path / "images/a b.PNG")
    labelme.write_json(tmp_path / "json/1.json", [labelme.shape("crack")], written)
    assert [record.image for record in Labelme().records(tmp_path)] == ["images/a b.PNG"]


def test_stale_path_gives_way_to_the_name_of_the_json(tmp_path):
    save(tmp_path / "new.png", texture(0))
    labelme.write_json(tmp_path / "new.json", [labelme.shape("crack")], "old.png")
    (tmp_path / "settings.json").write_text('{"x": 1}')
    assert [record.image for record in Labelme().records(tmp_path)] == ["new.png"]


@pytest.mark.parametrize(
    ("annotated_px", "orientation", "words"),
    [
        ((50, 40), 1, ""),
        ((50, 40), 6, ""),
        ((50, 40), 3, "EXIF orientation 3, expected 1"),
        ((40, 50), 6, "annotated at 40 x 50 px and is stored at 50 x 40 px, EXIF orientation 6"),
        ((100, 80), 1, "annotated at 100 x 80 px and is stored at 50 x 40 px"),
    ],
)
def test_shapes_that_may_lie_elsewhere_are_a_flaw(tmp_path, annotated_px, orientation, words):
    shapes = [labelme.shape("crack")]
    labelme.write_json(tmp_path / "a.json", shapes, "a.jpg", size_px=annotated_px)
    save_turned(tmp_path / "a.jpg", orientation)
    flaw = Labelme().records(tmp_path)[0].flaw
    assert words in flaw and bool(flaw) == bool(words)


def save_turned(path: Path, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new("RGB", (50, 40)).save(path, exif=exif)


@pytest.mark.parametrize(("answer", "split"), [("unlabelled", UNLABELLED), ("good", "train")])
def test_setting_says_what_an_image_without_file_is(tmp_path, answer, split):
    write_yolo(tmp_path, YAML + "train: images/train")
    add(tmp_path, "train/a.png", None)
    add(tmp_path, "train/b.png", "")
    labelme.add(tmp_path, "train/c.png", [])
    found = {r.image: r.split for r in Yolo(unannotated=answer).records(tmp_path)}
    assert found == {"images/train/a.png": split, "images/train/b.png": "train"}
    found = {r.image: r.split for r in Labelme(unannotated=answer).records(tmp_path)}
    assert (found["images/train/a.png"], found["train/c.png"]) == (split, "train")


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/train/a.png", "labels/train/a.txt"),
        ("train/images/a b.JPG", "train/labels/a b.txt"),
        ("images/x/images/a.b.png", "images/x/labels/a.b.txt"),
        ("shots/a.png", "shots/a.txt"),
    ],
)
def test_label_lies_in_labels_where_the_image_lies_in_images(image, label):
    assert label_path(image) == label


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
        "",
    ],
)
def test_folder_of_a_yolo_split_is_found_however_it_is_written(tmp_path, places):
    write_yolo(tmp_path, YAML + places.replace("{root}", str(tmp_path)))
    add(tmp_path, "train/a b.JPG", BOX)
    (tmp_path / "list.txt").write_text("./images/train/a b.JPG\n\n", encoding="utf-8")
    found = {record.image: record.split for record in Yolo().records(tmp_path)}
    assert found == {"images/train/a b.JPG": "train"}


def test_yolo_layout_of_roboflow_is_read(tmp_path):
    write_yolo(tmp_path, YAML + "train: ../train/images\nval: ../valid/images")
    save(tmp_path / "train/images/a_jpg.rf.1.jpg", texture(0))
    save(tmp_path / "valid/images/b.jpg", texture(1))
    (tmp_path / "train/labels").mkdir()
    (tmp_path / "train/labels/a_jpg.rf.1.txt").write_text(POLYGON)
    first, second = Yolo().records(tmp_path)
    assert (first.defects, first.group) == (("crack",), "yolo_train/images/a_jpg")
    assert second.split == UNLABELLED


@pytest.mark.parametrize("line", ["/etc/a.png", "../../a.png", "images/train/gone.png"])
def test_line_of_a_yolo_list_that_leads_nowhere_is_a_flaw(tmp_path, line):
    write_yolo(tmp_path, YAML + "train: list.txt")
    add(tmp_path, "train/a.png", BOX)
    (tmp_path / "list.txt").write_text(f"images/train/a.png\n{line}\n")
    good, bad = Yolo().records(tmp_path)
    assert good.flaw == "" and "expected an image below the root" in bad.flaw


@pytest.mark.parametrize(("label", "is_refused"), [(BOX, True), ("", False)])
def test_labelled_image_that_exif_turns_is_a_flaw(tmp_path, label, is_refused):
    write_yolo(tmp_path, YAML + "train: images/train")
    add(tmp_path, "train/a.jpg", label)
    save_turned(tmp_path / "images/train/a.jpg", 6)
    assert ("EXIF orientation 6" in Yolo().records(tmp_path)[0].flaw) == is_refused
