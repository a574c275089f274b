"""The table and COCO file of results read back as they were written, and serve the next run."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.annotation import open_annotation
from datamodules.sources.coco import Coco
from experiments.inference.inputs import find_images
from experiments.inference.result_files import coco_file, label_image, results_table, uncompressed
from tests.experiments.inference.small_results import GOOD_PART, RING, SIZE_PX, VOCABULARY, given

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
    assert [image.file_name for image in find_images(str(images / "answers.csv"))] == list(RESULTS)


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


def test_mask_in_the_first_pixel_begins_with_no_background() -> None:
    mask = np.array([[True, False, False], [False, False, False]])
    assert uncompressed(mask) == {"size": [2, 3], "counts": [0, 1, 5]}


def test_classes_beyond_a_palette_are_sixteen_bit() -> None:
    ids = np.array([[0, 300]])
    assert np.array_equal(np.asarray(label_image(ids, 301)), ids)
