"""Holds the mean average precision against COCO's own code."""

import contextlib
import io
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval
from scipy import ndimage

from datamodules.sample import Batch, Prediction
from lightning_modules.metrics.detection import DetectionMetrics
from tests.lightning_modules.metrics.random_scenes import NAMES, answer_of, random_scenes
from tests.lightning_modules.small_parts import batch_of

FIGURES = ("map", "map_50", "map_75")


def run(predictions: list[Prediction], batch: Batch, bins: int = 16384) -> dict[str, float]:
    metric = DetectionMetrics(NAMES, bins)
    metric.update(predictions, batch)
    return {name: float(figure) for name, figure in metric.compute().items()}


def annotation(mask: np.ndarray, class_id: int, image: int, number: int) -> dict[str, object]:
    """One COCO annotation of mask (H, W) bool."""
    runs = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    box = coco_mask.toBbox(runs).tolist()
    about = {"id": number, "image_id": image, "category_id": class_id, "iscrowd": 0}
    return about | {"area": int(mask.sum()), "bbox": box, "segmentation": runs}


def regions_of(batch: Batch) -> Iterator[tuple[int, int, np.ndarray]]:
    """The image, class and pixels of each connected region, found by another library."""
    for image, mask in enumerate(batch.mask.numpy()):
        for class_id in range(1, len(NAMES)):
            labels, count = ndimage.label(mask == class_id, structure=np.ones((3, 3)))
            for region in range(1, count + 1):
                yield image, class_id, labels == region


def truths_of(batch: Batch) -> list[dict[str, object]]:
    """One annotation per connected region."""
    return [
        annotation(inside, class_id, image, number)
        for number, (image, class_id, inside) in enumerate(regions_of(batch), start=1)
    ]


def coco_figures(predictions: list[Prediction], batch: Batch, kind: str) -> dict[str, float]:
    """The three figures by COCO's own code, for "bbox" or "segm"."""
    answers = [
        annotation(one.mask.numpy(), one.class_id, image, 0) | {"score": one.score}
        for image, prediction in enumerate(predictions)
        for one in prediction.instances
    ]
    sizes = [mask.shape for mask in batch.mask]
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO()
        truth.dataset = {
            "images": [{"id": k, "height": h, "width": w} for k, (h, w) in enumerate(sizes)],
            "categories": [{"id": class_id} for class_id in range(1, len(NAMES))],
            "annotations": truths_of(batch),
        }
        truth.createIndex()
        judge = COCOeval(truth, truth.loadRes(answers), kind)
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    return dict(zip(FIGURES, judge.stats[:3].tolist(), strict=True))


@pytest.mark.parametrize(("kind", "coco_kind"), [("box", "bbox"), ("mask", "segm")])
@pytest.mark.parametrize("seed", [0, 1])
def test_precision_equals_that_of_cocos_own_code(kind: str, coco_kind: str, seed: int) -> None:
    predictions, batch = random_scenes(seed, count=60)
    figures = run(predictions, batch)
    for name, expected in coco_figures(predictions, batch, coco_kind).items():
        assert 0.05 < expected < 0.95
        assert figures[f"{kind}_{name}"] == pytest.approx(expected, abs=5e-4)


def test_masks_that_overlap_count_whole_as_in_cocos_own_code() -> None:
    predictions, batch = random_scenes(2, count=40)
    generator = np.random.default_rng(0)
    for prediction in predictions:
        for one in list(prediction.instances):
            left, top, width, height = one.box_xywh_px
            mask = torch.zeros_like(one.mask)
            mask[top : top + height // 2 + 1, left : left + width] = True
            box = (left, top, width, height // 2 + 1)
            score = float(generator.uniform(0, 1))
            prediction.instances.append(replace(one, score=score, mask=mask, box_xywh_px=box))
    figures = run(predictions, batch, bins=2**17)
    for name, expected in coco_figures(predictions, batch, "segm").items():
        assert figures[f"mask_{name}"] == pytest.approx(expected, abs=1e-5)


def test_boxes_for_masks_count_for_boxes_alone() -> None:
    predictions, batch = random_scenes(4)
    exact = run(predictions, batch)
    batch.is_box[:] = True
    rough = run(predictions, batch)
    assert all(rough[f"box_{name}"] == exact[f"box_{name}"] for name in FIGURES)
    sizes = ("recall_small", "recall_medium", "recall_large")
    assert all(np.isnan(rough[name]) for name in (*(f"mask_{name}" for name in FIGURES), *sizes))


def recall_of(predictions: list[Prediction], batch: Batch) -> dict[str, float]:
    figures = run(predictions, batch)
    return {size: figures[f"recall_{size}"] for size in ("small", "medium", "large")}


def found_by_size(predictions: list[Prediction], batch: Batch) -> dict[str, list[bool]]:
    """Of each region whether half of it is marked, one after the other."""
    found: dict[str, list[bool]] = {"small": [], "medium": [], "large": []}
    for image, _, inside in regions_of(batch):
        size = "small" if inside.sum() < 32**2 else "medium" if inside.sum() < 96**2 else "large"
        is_marked = predictions[image].label_map.numpy() > 0
        found[size].append(is_marked[inside].mean() >= 0.5)
    return found


def test_recall_equals_a_loop_over_every_region() -> None:
    predictions, batch = random_scenes(0, count=20, side_px=300)
    figures = recall_of(predictions, batch)
    for size, found in found_by_size(predictions, batch).items():
        assert 0 < np.mean(found) < 1
        assert figures[size] == pytest.approx(np.mean(found))


@pytest.mark.parametrize(("rows", "recall"), [(9, 0.0), (10, 1.0)])
def test_region_is_found_where_half_of_it_is_marked_whatever_it_is_called(
    rows: int, recall: float
) -> None:
    mask, marked = np.zeros((1, 40, 40), dtype=np.int64), np.zeros((40, 40), dtype=bool)
    mask[0, :20, :20] = 1
    marked[:rows, :20] = True
    answer = answer_of(2 * marked, np.where(marked, 0.9, 0.1), np.ones(4) / 4)  # all of type 2
    assert recall_of([answer], batch_of(mask))["small"] == recall
