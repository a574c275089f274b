"""COCO files as tools write them, good and bad."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask

from datamodules.annotation import draw_regions
from datamodules.preparing.inspection import inspect
from datamodules.sample import UNLABELLED, Record
from datamodules.sources.coco import Coco
from datamodules.vocabulary import Vocabulary
from tests.datamodules.sources.layouts.coco import SQUARE, annotation, write_coco


def only(root: Path, **annotated: object) -> Record:
    """The one record of a set with one image and one annotation of pin holes."""
    write_coco(root, "instances.json", ["images/a.png"], [annotation(1, 3, **annotated)])
    (record,) = Coco().records(root)
    return record


def edit(root: Path, change: dict[str, object], file: str = "instances.json") -> None:
    path = root / "annotations" / file
    path.write_text(json.dumps(json.loads(path.read_text()) | change), encoding="utf-8")


def mask_of(record: Record) -> np.ndarray:
    vocabulary = Vocabulary.from_names(["pin hole", "crack"])
    return draw_regions(record.regions, vocabulary=vocabulary, size_px=(40, 50))


@pytest.mark.parametrize("compressed", [True, False])
def test_run_lengths_come_back_without_loss(tmp_path, compressed):
    mask = np.random.default_rng(0).random((40, 50)) < 0.3
    coded = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.T.ravel(), [0]])))
    counts = np.diff(np.concatenate([[0], edges, [2000]])).tolist()
    text = coded["counts"].decode() if compressed else counts
    record = only(tmp_path, segmentation={"size": [40, 50], "counts": text})
    again = coco_mask.encode(np.asfortranarray(mask_of(record).astype(np.uint8)))
    assert again == coded


def test_all_parts_of_a_polygon_are_drawn(tmp_path):
    record = only(tmp_path, segmentation=[SQUARE, [30, 5, 34, 5, 34, 9, 30, 9]])
    mask = mask_of(record)
    assert record.mask_kind == "pixel"
    assert mask.sum() == 15 * 10 + 4 * 4
    assert mask[10:20, 5:20].all() and mask[5:9, 30:34].all()


@pytest.mark.parametrize("outline", [None, [], [[]]])
def test_without_outline_the_box_counts(tmp_path, outline):
    record = only(tmp_path, segmentation=outline, bbox=[5, 10, 15, 10])
    assert record.mask_kind == "box"
    assert mask_of(record).sum() == 150


def test_annotation_without_place_still_names_its_type(tmp_path):
    record = only(tmp_path)
    assert (record.defects, record.mask_kind) == (("pin hole",), "none")


@pytest.mark.parametrize(("answer", "split"), [("good", "train"), ("unlabelled", UNLABELLED)])
def test_setting_says_what_unannotated_pictures_are(tmp_path, answer, split):
    write_coco(tmp_path, "instances_train.json", ["images/a.png"], [])
    (record,) = Coco(unannotated=answer).records(tmp_path)
    assert (record.split, record.defects) == (split, ())


def test_file_without_annotations_leaves_pictures_unlabelled(tmp_path):
    write_coco(tmp_path, "image_info_test2017.json", ["images/a.png"], None)
    assert Coco(unannotated="good").records(tmp_path)[0].split == UNLABELLED


def test_names_of_two_splits_do_not_mix(tmp_path):
    write_coco(tmp_path, "instances_train2017.json", ["train2017/1.png"], [])
    write_coco(tmp_path, "instances_val2017.json", ["images/val2017/1.png"], [])
    found = {record.image: record.split for record in Coco().records(tmp_path)}
    assert found == {"train2017/1.png": "train", "images/val2017/1.png": "val"}


def test_roboflow_keeps_its_file_beside_the_pictures(tmp_path):
    write_coco(tmp_path, "_annotations.coco.json", ["valid/a_png.rf.1.png"], [])
    (tmp_path / "annotations/_annotations.coco.json").rename(
        tmp_path / "valid/_annotations.coco.json"
    )
    (record,) = Coco(annotations="*/_annotations.coco.json").records(tmp_path)
    assert (record.image, record.split) == ("valid/a_png.rf.1.png", "val")
    assert record.group == "coco_valid/a_png"


def test_images_setting_is_the_only_place(tmp_path):
    write_coco(tmp_path, "instances.json", ["shots/line 1/a.png", "images/a.png"], [])
    edit(tmp_path, {"images": [{"id": 1, "file_name": "a.png"}]})
    assert Coco(images="shots/line 1").records(tmp_path)[0].image == "shots/line 1/a.png"


def test_small_overhang_is_cut(tmp_path):
    record = only(tmp_path, bbox=[-1, -1, 10, 10])
    assert inspect(record, tmp_path).problem == ""


@pytest.mark.parametrize(
    ("annotated", "words"),
    [
        ({"bbox": [45, 5, 30, 10]}, "outside its image"),
        ({"segmentation": [[0, 0, 90, 0, 90, 9]]}, "outside its image"),
        ({"bbox": [5, 5, -3, 10]}, "expected a positive size"),
        ({"bbox": [5, 5, 0, 0]}, "expected a positive size"),
        ({"bbox": [5, float("nan"), 3, 10]}, "not finite"),
        ({"bbox": [5, 5, 3]}, "has 3 numbers"),
        ({"bbox": "5 5 3 3"}, "expected a list of numbers"),
        ({"bbox": [5, 5, "3", 3]}, "expected a list of numbers"),
        ({"segmentation": [[1, 2, 3, 4]]}, "expected x and y of three or more corners"),
        ({"segmentation": [[1, 2, 3, 4, 5, 6, 7]]}, "expected x and y of three or more"),
        ({"segmentation": "x"}, "expected polygons or RLE"),
        ({"segmentation": {"counts": [2000]}}, "expected a list of numbers"),
        ({"segmentation": {"size": [40], "counts": [2000]}}, r"expected \[height, width\]"),
        ({"segmentation": {"size": [50, 40], "counts": [2000]}}, "expected its 50 x 40 px"),
        ({"segmentation": {"size": [40, 50], "counts": [5, 6]}}, "RLE of CVAT or Label Studio"),
        ({"segmentation": {"size": [40, 50], "counts": "a b"}}, "COCO's compressed string"),
        ({"category_id": 77}, "is of category 77, expected 3=Pin-Hole, 9=crack"),
        ({"category_id": None}, "is of category None"),
    ],
)
def test_bad_annotation_is_one_line_for_its_picture(tmp_path, annotated, words):
    images = ["images/a.png", "images/b.png"]
    bad = {**annotation(1, 3), **annotated}
    write_coco(tmp_path, "instances.json", images, [bad, annotation(2, 9, bbox=[1, 2, 3, 4])])
    refused, kept = [inspect(record, tmp_path) for record in Coco().records(tmp_path)]
    assert re.search(words, refused.problem)
    assert kept.problem == ""


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"id": 1, "file_name": "../../out.png"}, "leads out of the data root"),
        ({"id": 1, "file_name": "/etc/hosts.png"}, "expected one below the data root"),
        ({"id": 1, "file_name": "C:\\a.png"}, "expected one below the data root"),
        ({"id": 1, "file_name": "gone.png"}, "is missing"),
        ({"id": 1, "file_name": ""}, "has no id or file_name"),
        ({"id": 1}, "has no id or file_name"),
        ({"file_name": "a.png"}, "has no id or file_name"),
        ({"id": [1], "file_name": "a.png"}, "has no id or file_name"),
    ],
)
def test_bad_picture_entry_is_one_flaw(tmp_path, entry, words):
    write_coco(tmp_path, "instances.json", ["images/a.png"], [])
    edit(tmp_path, {"images": [entry]})
    (record,) = Coco().records(tmp_path)
    assert words in record.flaw
    assert ".." not in record.image and not record.image.startswith("/")


def test_annotation_of_an_unknown_picture_is_named(tmp_path):
    write_coco(tmp_path, "instances.json", ["images/a.png"], [annotation(5, 3, bbox=[1, 2, 3, 4])])
    good, stray = Coco().records(tmp_path)
    assert good.flaw == ""
    assert "annotation 0 is of image 5, which is not in images" in stray.flaw


@pytest.mark.parametrize(("file_name", "words"), [("a.png", "id 1"), ("b.png", "id 1")])
def test_repeated_picture_id_makes_all_its_pictures_unusable(tmp_path, file_name, words):
    write_coco(tmp_path, "instances.json", ["images/a.png", "images/b.png"], [])
    entries = [{"id": 1, "file_name": "a.png"}, {"id": 1, "file_name": file_name}]
    edit(tmp_path, {"images": entries})
    records = Coco().records(tmp_path)
    assert {record.image for record in records} == {"images/a.png", f"images/{file_name}"}
    assert all(words in record.flaw for record in records)


def test_repeated_annotation_id_is_a_flaw(tmp_path):
    twins = [{**annotation(1, 3, bbox=[1, 2, 3, 4]), "id": 7}] * 2
    write_coco(tmp_path, "instances.json", ["images/a.png"], twins)
    assert "annotation 7: has the id of another" in Coco().records(tmp_path)[0].flaw


def test_picture_in_two_files_is_a_flaw_with_both_names(tmp_path):
    for file in ("instances_train.json", "instances_val.json"):
        write_coco(tmp_path, file, ["images/a.png"], [])
    (record,) = Coco().records(tmp_path)
    assert "instances_train.json image 1 and as annotations/instances_val" in record.flaw


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"images": {}}, "images of annotations/instances.json is"),
        ({"annotations": [3]}, "annotations of annotations/instances.json is"),
        ({"categories": [{"id": 3}]}, "category without id or name"),
        ({"categories": [{"id": 3, "name": "a"}, {"id": 3, "name": "b"}]}, "one name per id"),
    ],
)
def test_file_of_another_kind_is_one_clear_line(tmp_path, change, words):
    write_coco(tmp_path, "instances.json", ["images/a.png"], [])
    edit(tmp_path, change)
    with pytest.raises(ValueError, match=words) as error:
        Coco().records(tmp_path)
    assert "\n" not in str(error.value)


def test_captions_file_is_no_instances_file(tmp_path):
    write_coco(tmp_path, "captions.json", ["images/a.png"], [])
    (tmp_path / "annotations/captions.json").write_text('{"images": [], "annotations": []}')
    with pytest.raises(ValueError, match="holds images, annotations: expected COCO instances"):
        Coco().records(tmp_path)


@pytest.mark.parametrize("pattern", ["", "/annotations/*.json", "../*.json"])
def test_pattern_that_leads_out_is_one_clear_line(tmp_path, pattern):
    write_coco(tmp_path, "instances.json", ["images/a.png"], [])
    with pytest.raises(ValueError, match="expected a pattern below the root"):
        Coco(annotations=pattern).records(tmp_path)


def test_pattern_without_file_names_what_is_there(tmp_path):
    write_coco(tmp_path, "instances.json", ["images/a.png"], [])
    with pytest.raises(FileNotFoundError, match=r"but annotations/instances\.json"):
        Coco(annotations="labels/*.json").records(tmp_path)


def test_linked_annotation_file_is_refused(tmp_path):
    write_coco(tmp_path, "instances.json", ["images/a.png"], [])
    (tmp_path / "annotations/b.json").symlink_to(tmp_path / "annotations/instances.json")
    with pytest.raises(ValueError, match=r"b\.json is a link"):
        Coco().records(tmp_path)


def test_real_masks_survive_the_way_through_coco(tmp_path, shared_data):
    masks = sorted((shared_data / "neu_seg/annotations/test").glob("*.png"))[:20]
    images = [f"images/{path.stem}.png" for path in masks]
    annotations = []
    for number, path in enumerate(masks, start=1):
        for category, value in ((3, 1), (9, 2)):
            where = np.asfortranarray(np.asarray(Image.open(path)) == value, dtype=np.uint8)
            coded = coco_mask.encode(where) | {"counts": coco_mask.encode(where)["counts"].decode()}
            annotations.append(annotation(number, category, segmentation=coded))
    write_coco(tmp_path, "instances.json", images, annotations)
    edit(tmp_path, {"images": [{"id": n, "file_name": i} for n, i in enumerate(images, start=1)]})
    vocabulary = Vocabulary.from_names(["pin hole", "crack"])
    for path, record in zip(masks, Coco().records(tmp_path), strict=True):
        mask = np.asarray(Image.open(path))
        drawn = draw_regions(record.regions, vocabulary=vocabulary, size_px=mask.shape)
        assert (drawn == np.where(mask <= 2, mask, 0)).all()
