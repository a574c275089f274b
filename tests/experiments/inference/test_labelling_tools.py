"""Tasks for Label Studio, its COCO export of them read back, and the set-up of both tools."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from datamodules.annotation import open_annotation
from datamodules.sources.coco import Coco
from datamodules.vocabulary import Vocabulary
from experiments.inference.labelling_tools import (
    label_studio_tasks,
    write_cvat_labels,
    write_label_studio_interface,
)
from experiments.inference.outlines import LEAST_IOU
from tests.experiments.inference.small_results import GOOD_PART, RING, SIZE_PX, VOCABULARY, given

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


def test_cvat_labels_are_the_defect_types(tmp_path: Path) -> None:
    write_cvat_labels(tmp_path / "labels.json", VOCABULARY)
    labels = json.loads((tmp_path / "labels.json").read_text())
    assert [(label["name"], label["color"]) for label in labels] == [
        ("pit", "#e63946"),
        ("burr", "#0091ff"),
    ]
