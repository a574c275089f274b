"""What predict writes as COCO comes back by the coco source with the same masks and names."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.pictures.annotation import open_annotation
from datamodules.sample import Record
from datamodules.sources.coco import Coco
from experiments.answering.coco_file import CocoFile, RunLengths, compressed, uncompressed
from experiments.answering.labelling_setup import write_cvat_labels
from tests.experiments.answering.small_answers import (
    GOOD_PART,
    RING,
    SIZE_PX,
    VOCABULARY,
    asked,
)

Encode = Callable[[np.ndarray], RunLengths]


def write(root: Path, encode: Encode = uncompressed) -> Path:
    """A data root with three pictures below images/ and the answers for them."""
    (root / "annotations").mkdir(parents=True)
    file = CocoFile(root / "annotations" / "predictions.json", VOCABULARY, encode=encode)
    for name, answer in {"a.png": RING, "deep/a.jpg": RING, "b.png": GOOD_PART}.items():
        path = root / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(answer.picture).save(path)
        file.add(asked(name), answer)
    file.close()
    return root / "annotations" / "predictions.json"


def ids_of(record: Record, root: Path) -> np.ndarray | None:
    return open_annotation(record, root, vocabulary=VOCABULARY, picture_size_px=SIZE_PX)


@pytest.mark.parametrize("encode", [compressed, uncompressed])
def test_masks_and_names_come_back_pixel_for_pixel(tmp_path: Path, encode: Encode) -> None:
    write(tmp_path, encode)
    records = {record.image: record for record in Coco().records(tmp_path)}
    assert list(records) == ["images/a.png", "images/deep/a.jpg", "images/b.png"]
    for name, answer in zip(records, (RING, RING, GOOD_PART), strict=True):
        assert np.array_equal(ids_of(records[name], tmp_path), answer.label_map)
    assert records["images/a.png"].defects == ("pit", "burr")


def test_picture_without_defect_comes_back_as_good(tmp_path: Path) -> None:
    write(tmp_path)
    assert [r.split for r in Coco().records(tmp_path) if not r.defects] == [""]


def test_file_has_all_sections_and_keys_that_cvat_reads(tmp_path: Path) -> None:
    content = json.loads(write(tmp_path).read_text())
    assert {"licenses", "info", "categories", "images", "annotations"} == set(content)
    assert content["licenses"]
    assert all(category["id"] > 0 for category in content["categories"])
    for one in content["annotations"]:
        assert one["iscrowd"] == 0
        assert one["segmentation"]["size"] == list(SIZE_PX)
        assert sum(one["segmentation"]["counts"]) == SIZE_PX[0] * SIZE_PX[1]


def test_mask_in_the_first_pixel_begins_with_no_background() -> None:
    mask = np.zeros((2, 3), dtype=bool)
    mask[0, 0] = True
    assert uncompressed(mask) == {"size": [2, 3], "counts": [0, 1, 5]}


def test_cvat_labels_are_the_defect_types(tmp_path: Path) -> None:
    write_cvat_labels(tmp_path / "labels.json", VOCABULARY)
    labels = json.loads((tmp_path / "labels.json").read_text())
    assert [label["name"] for label in labels] == ["pit", "burr"]
