"""Results read back as they were written, from our files and by way of labelling tools."""

import csv
import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from datamodules.annotation import draw_region, open_annotation
from datamodules.sample import Region
from datamodules.sources.coco import Coco
from datamodules.vocabulary import Vocabulary
from experiments.inference.inputs import find_images
from experiments.inference.labelling_tools import (
    label_studio_tasks,
    write_cvat_labels,
    write_label_studio_interface,
)
from experiments.inference.outlines import LEAST_IOU, join_rings, trace_polygon, trace_rings
from experiments.inference.result_files import coco_file, label_image, results_table, uncompressed
from tests.experiments.inference.small_results import (
    GOOD_PART,
    RING,
    SIZE_PX,
    VOCABULARY,
    blot_mask,
    given,
    ring_mask,
)

RESULTS = {"a.png": RING, 'deep/a, "b".jpg': RING, "b.png": GOOD_PART}


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name, result in RESULTS.items():
        image = tmp_path / "images" / name
        image.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(result.image).save(image)
    return tmp_path / "images"


def test_table_holds_results_and_is_a_list_of_images(images: Path) -> None:
    with results_table(images / "answers.csv") as add:
        for name, result in RESULTS.items():
            add(given(name), result)
    with (images / "answers.csv").open(newline="", encoding="utf-8") as file:
        _, _, ring, good = csv.reader(file)
    assert ring == ['deep/a, "b".jpg', "pit", "0.9000", "0", "1 pit; 1 burr", "0.8000"]
    assert good == ["b.png", "good", "0.1000", "0", "", ""]
    found, _ = find_images(str(images / "answers.csv"))
    assert [image.file_name for image in found] == list(RESULTS)


@pytest.mark.parametrize("is_compressed", [True, False])
def test_coco_file_comes_back_by_the_coco_source(images: Path, is_compressed: bool) -> None:
    root = images.parent
    (root / "annotations").mkdir()
    file = root / "annotations" / "predictions.json"
    with coco_file(file, VOCABULARY, is_compressed=is_compressed) as add:
        for name, result in RESULTS.items():
            add(given(name), result)
    records = Coco().records(root)
    assert [record.image for record in records] == [f"images/{name}" for name in RESULTS]
    assert [record.defects for record in records] == [("pit", "burr"), ("pit", "burr"), ()]
    for record, result in zip(records, RESULTS.values(), strict=True):
        ids = open_annotation(record, root, vocabulary=VOCABULARY, image_size_px=SIZE_PX)
        assert np.array_equal(ids, result.label_map)
    content = json.loads(file.read_text())
    assert {"licenses", "info", "categories", "images", "annotations"} == set(content)
    assert content["licenses"] and [one["id"] for one in content["categories"]] == [1, 2]
    image = content["images"][0]
    assert (image["answer"], image["image_score"], image["needs_review"]) == ("pit", 0.9, False)
    assert image["type_scores"] == pytest.approx({"good": 0.2, "pit": 0.5, "burr": 0.3})
    assert [one["runners_up"] for one in content["annotations"][:2]] == [{"burr": 0.25}, {}]


def test_mask_in_the_first_pixel_begins_with_no_background_and_many_classes_are_16_bit() -> None:
    mask = np.array([[True, False, False], [False, False, False]])
    assert uncompressed(mask) == {"size": [2, 3], "counts": [0, 1, 5]}
    ids = np.array([[0, 300]])
    assert np.array_equal(np.asarray(label_image(ids, 301)), ids)


NAMES = ("a.png", "deep dir/b & c.png")
HEIGHT_PX, WIDTH_PX = SIZE_PX


def write_tasks(path: Path) -> list[dict]:
    with label_studio_tasks(path, address="/files/?d=") as add:
        for name, result in zip(NAMES, (RING, GOOD_PART), strict=True):
            add(given(name), result)
    return json.loads(path.read_text(encoding="utf-8"))


def label_studio_export(tasks: list[dict], file_names: list[str]) -> dict:
    """What Label Studio 1.2x exports as COCO once a person has accepted the predictions.

    Ids begin with 0, categories stand in the order of the alphabet, an image without annotation
    has no size, and polygons are in pixels.
    """
    images, annotations = [], []
    for number, (task, name) in enumerate(zip(tasks, file_names, strict=True)):
        results = task["predictions"][0]["result"]
        size = {"width": WIDTH_PX if results else None, "height": HEIGHT_PX if results else None}
        images.append({**size, "id": number, "file_name": name})
        for result in results:
            corners = np.array(result["value"]["points"]) / 100 * (WIDTH_PX, HEIGHT_PX)
            annotation = {
                "image_id": number,
                "category_id": ["burr", "pit"].index(result["value"]["polygonlabels"][0]),
                "segmentation": [corners.ravel().tolist()],
                "bbox": [0.0, 0.0, 1.0, 1.0],
                "ignore": 0,
                "iscrowd": 0,
                "area": 1.0,
            }
            annotations.append({"id": len(annotations), **annotation})
    categories = [{"id": 0, "name": "burr"}, {"id": 1, "name": "pit"}]
    return {"images": images, "categories": categories, "annotations": annotations, "info": {}}


@pytest.mark.parametrize(
    "file_names",
    [
        ["images/1f2e3d4c-a.png", "images\\5a6b7c8d-b & c.png"],
        ["/data/local-files/?d=a.png", "/data/local-files/?d=deep%20dir/b%20%26%20c.png"],
        ["../../srv/parts/images/a.png", "../../srv/parts/images/deep dir/b & c.png"],
        ["..\\..\\media\\upload\\4\\1f2e3d4c-a.png", "../../media/upload/4/5a6b7c8d-b & c.png"],
    ],
    ids=["uploaded", "local_files", "local_paths", "media"],
)
def test_corrected_tasks_come_back_by_the_coco_source(
    tmp_path: Path, file_names: list[str]
) -> None:
    for name in NAMES:
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(RING.image).save(path)
    (tmp_path / "annotations").mkdir()
    export = label_studio_export(write_tasks(tmp_path / "tasks.json"), file_names)
    (tmp_path / "annotations" / "result.json").write_text(json.dumps(export))
    ring, good = Coco().records(tmp_path)
    assert (ring.image, good.image) == ("images/a.png", "images/deep dir/b & c.png")
    assert (ring.defects, good.defects, good.split) == (("pit", "burr"), (), "")
    ids = open_annotation(ring, tmp_path, vocabulary=VOCABULARY, image_size_px=SIZE_PX)
    assert ids is not None
    for class_id in (1, 2):
        found, true = ids == class_id, RING.label_map == class_id
        assert (found & true).sum() / (found | true).sum() >= LEAST_IOU


def test_tasks_fit_the_interface_and_name_images_by_quoted_addresses(tmp_path: Path) -> None:
    tasks = write_tasks(tmp_path / "tasks.json")
    addresses = [task["data"]["image"] for task in tasks]
    assert addresses == ["/files/?d=a.png", "/files/?d=deep%20dir/b%20%26%20c.png"]
    evil = "<a> & \"b\" 'c'"
    write_label_studio_interface(tmp_path / "i.xml", Vocabulary.from_names(["pit", evil]))
    control = ElementTree.parse(tmp_path / "i.xml").find("PolygonLabels")
    assert control is not None
    result = tasks[0]["predictions"][0]["result"][0]
    assert (control.get("name"), control.get("toName")) == (result["from_name"], result["to_name"])
    assert [label.get("value") for label in control] == ["pit", evil]
    write_cvat_labels(tmp_path / "labels.json", VOCABULARY)
    labels = json.loads((tmp_path / "labels.json").read_text())
    colors = [(label["name"], label["color"]) for label in labels]
    assert colors == [("pit", "#e63946"), ("burr", "#0091ff")]


def drawn(polygon: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The mask that COCO's rule makes of the polygon."""
    region = Region("pit", "polygon", tuple(polygon.ravel().astype(float).tolist()))
    return draw_region(region, size_px=(mask.shape[0], mask.shape[1]))


def ragged_mask(seed: int) -> np.ndarray:
    """One connected part of smoothed noise, with holes and single corners."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((30, 40)), 0.8)
    parts, _ = ndimage.label(noise > np.quantile(noise, 0.55), structure=np.ones((3, 3)))
    return parts == np.bincount(parts[parts > 0]).argmax()


def thin_crack() -> np.ndarray:
    """A crack of one pixel's width that winds across the image."""
    mask = np.zeros((60, 80), dtype=bool)
    x = np.arange(80)
    mask[(30 + 20 * np.sin(x / 12)).round().astype(int), x] = True
    return mask


MASKS = [ring_mask(), blot_mask(), thin_crack(), *map(ragged_mask, range(6)), np.ones((1, 7), bool)]


@pytest.mark.parametrize("mask", MASKS)
def test_polygon_is_exact_without_tolerance_and_close_for_a_person(mask: np.ndarray) -> None:
    assert np.array_equal(drawn(join_rings(trace_rings(mask)), mask), mask)
    found = drawn(trace_polygon(mask), mask)
    assert (found & mask).sum() / (found | mask).sum() >= LEAST_IOU


def test_holes_are_rings_corners_join_and_a_person_gets_few_of_them() -> None:
    assert [len(trace_rings(mask)) for mask in (ring_mask(), blot_mask())] == [2, 1]
    y, x = np.mgrid[:300, :400]
    mask = np.hypot((y - 150) * 1.3, x - 200) < 100
    assert len(trace_polygon(mask)) < len(join_rings(trace_rings(mask))) / 4
