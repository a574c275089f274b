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
from experiments.inference.result_files import (
    coco_file,
    label_image,
    results_table,
    uncompressed,
)
from tests.experiments.inference.small_results import (
    GOOD_PART,
    RING,
    SIZE_PX,
    VOCABULARY,
    given,
)


def test_table_holds_results_and_is_a_list_of_images(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ('deep/a, "b".png', "good.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    with results_table(tmp_path / "answers.csv") as add:
        add(given('deep/a, "b".png'), RING)
        add(given("good.png"), GOOD_PART)
    with (tmp_path / "answers.csv").open(newline="", encoding="utf-8") as file:
        _, ring, good = csv.reader(file)
    assert ring == ['deep/a, "b".png', "pit", "0.9000", "0", "1 pit; 1 burr", "0.8000"]
    assert good == ["good.png", "good", "0.1000", "0", "", ""]
    found = find_images(str(tmp_path / "answers.csv"))
    assert [image.name for image in found] == ['deep/a, "b"', "good"]


@pytest.mark.parametrize("is_compressed", [True, False])
def test_coco_file_comes_back_by_the_coco_source(tmp_path: Path, is_compressed: bool) -> None:
    results = {"a.png": RING, "deep/a.jpg": RING, "b.png": GOOD_PART}
    path = tmp_path / "annotations" / "predictions.json"
    path.parent.mkdir()
    with coco_file(path, VOCABULARY, is_compressed=is_compressed) as add:
        for name, result in results.items():
            image = tmp_path / "images" / name
            image.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(result.image).save(image)
            add(given(name), result)
    records = Coco().records(tmp_path)
    assert [record.image for record in records] == [f"images/{name}" for name in results]
    assert [record.defects for record in records] == [("pit", "burr"), ("pit", "burr"), ()]
    for record, result in zip(records, results.values(), strict=True):
        ids = open_annotation(record, tmp_path, vocabulary=VOCABULARY, image_size_px=SIZE_PX)
        assert np.array_equal(ids, result.label_map)


def test_coco_file_has_all_sections_and_keys_that_cvat_reads(tmp_path: Path) -> None:
    with coco_file(tmp_path / "a.json", VOCABULARY, is_compressed=False) as add:
        add(given("a.png"), RING)
    content = json.loads((tmp_path / "a.json").read_text())
    assert {"licenses", "info", "categories", "images", "annotations"} == set(content)
    assert content["licenses"]
    assert [(one["id"], one["name"]) for one in content["categories"]] == [(1, "pit"), (2, "burr")]
    (image,) = content["images"]
    assert (image["answer"], image["image_score"], image["needs_review"]) == ("pit", 0.9, False)
    assert image["type_scores"] == pytest.approx({"good": 0.2, "pit": 0.5, "burr": 0.3})
    for one in content["annotations"]:
        assert one["iscrowd"] == 0
        assert one["segmentation"]["size"] == list(SIZE_PX)
        assert sum(one["segmentation"]["counts"]) == SIZE_PX[0] * SIZE_PX[1]


def test_mask_in_the_first_pixel_begins_with_no_background() -> None:
    mask = np.array([[True, False, False], [False, False, False]])
    assert uncompressed(mask) == {"size": [2, 3], "counts": [0, 1, 5]}


def test_classes_beyond_a_palette_are_sixteen_bit() -> None:
    ids = np.array([[0, 300]])
    assert np.array_equal(np.asarray(label_image(ids, 301)), ids)
