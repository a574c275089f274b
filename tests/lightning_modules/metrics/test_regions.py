"""Holds regions and their overlaps against SciPy, pycocotools and a loop over pairs."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from scipy import ndimage

from lightning_modules.metrics.regions import box_overlaps, find_regions, lay_out, mask_overlaps
from tests.lightning_modules.metrics.random_scenes import random_scenes


@pytest.mark.parametrize("seed", [0, 1])
def test_regions_are_those_of_scipy_class_by_class(seed: int) -> None:
    class_map = np.random.default_rng(seed).integers(0, 3, (24, 31))
    regions = find_regions(class_map)
    for class_id in (1, 2):
        labels, count = ndimage.label(class_map == class_id, structure=np.ones((3, 3)))
        own = np.flatnonzero(regions.class_ids == class_id)
        assert len(own) == count
        pairs = {(a, b) for a, b in zip(labels.ravel(), regions.places.ravel(), strict=True) if a}
        assert len(pairs) == count
        assert sorted(np.bincount(labels.ravel())[1:]) == sorted(regions.areas_px[own])


def test_image_without_a_defect_has_no_region() -> None:
    empty, full = find_regions(np.zeros((4, 5), int)), find_regions(np.ones((4, 5), int))
    assert len(empty.class_ids) == 0 and not empty.places.any()
    assert mask_overlaps(empty, full).shape == box_overlaps(full, empty).T.shape == (0, 1)


def test_instances_keep_their_order_and_pixels() -> None:
    prediction = random_scenes(3)[0][0]
    laid = lay_out(prediction.instances, (96, 96))
    assert len(prediction.instances) > 1
    for number, instance in enumerate(prediction.instances, start=1):
        assert np.array_equal(laid.places == number, instance.mask.numpy())
    assert laid.areas_px.sum() == (prediction.label_map > 0).sum()


@pytest.mark.parametrize("seed", [4, 5])
def test_overlaps_equal_those_of_pycocotools(seed: int) -> None:
    predictions, batch = random_scenes(seed)
    answer, truth = (find_regions(m.numpy()) for m in (predictions[0].label_map, batch.mask[0]))
    runs = [
        [coco_mask.encode(np.asfortranarray(side.places == n, np.uint8)) for n in numbers]
        for side in (answer, truth)
        for numbers in [range(1, len(side.class_ids) + 1)]
    ]
    boxes = [side.boxes_xywh_px.astype(float) for side in (answer, truth)]
    crowds = [0] * len(truth.class_ids)
    assert np.array_equal(mask_overlaps(answer, truth), coco_mask.iou(*runs, crowds))
    assert np.array_equal(box_overlaps(answer, truth), coco_mask.iou(*boxes, crowds))
