"""Holds the recall by size against a loop over every region."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from datamodules.sample import Batch, Prediction
from lightning_modules.metrics.regions import RegionRecall
from tests.lightning_modules.metrics.random_scenes import answer_of, batch_of, random_scenes


def run(predictions: list[Prediction], batch: Batch) -> dict[str, float]:
    metric = RegionRecall()
    metric.update(predictions, batch)
    return {name: float(figure) for name, figure in metric.compute().items()}


def found_by_size(predictions: list[Prediction], batch: Batch) -> dict[str, list[bool]]:
    """Of each region whether half of it is marked, one after the other."""
    found: dict[str, list[bool]] = {"small": [], "medium": [], "large": []}
    for prediction, mask in zip(predictions, batch.mask.numpy(), strict=True):
        for class_id in range(1, 4):
            labels, count = ndimage.label(mask == class_id, structure=np.ones((3, 3)))
            for region in range(1, count + 1):
                inside = labels == region
                area = inside.sum()
                size = "small" if area < 32**2 else "medium" if area < 96**2 else "large"
                found[size].append((prediction.label_map.numpy() > 0)[inside].mean() >= 0.5)
    return found


def answer_with(marked: np.ndarray) -> Prediction:
    """All pixels of `marked` called type 2."""
    return answer_of(2 * marked, np.where(marked, 0.9, 0.1), np.ones(4) / 4)


def test_recall_equals_a_loop_over_every_region() -> None:
    predictions, batch = random_scenes(0, count=20, side_px=300)
    figures = run(predictions, batch)
    for size, found in found_by_size(predictions, batch).items():
        assert 0 < np.mean(found) < 1
        assert figures[f"recall_{size}"] == pytest.approx(np.mean(found))


@pytest.mark.parametrize(
    ("side_px", "size"), [(31, "small"), (32, "medium"), (95, "medium"), (96, "large")]
)
def test_sizes_begin_where_cocos_do(side_px: int, size: str) -> None:
    mask = np.zeros((1, 100, 100), dtype=np.int64)
    mask[0, :side_px, :side_px] = 1
    figures = run([answer_with(mask[0] > 0)], batch_of(mask))
    assert [name for name, figure in figures.items() if figure == 1] == [f"recall_{size}"]


@pytest.mark.parametrize(("rows", "recall"), [(9, 0.0), (10, 1.0)])
def test_region_is_found_where_half_of_it_is_marked_whatever_it_is_called(
    rows: int, recall: float
) -> None:
    mask, marked = np.zeros((1, 40, 40), dtype=np.int64), np.zeros((40, 40), dtype=bool)
    mask[0, :20, :20] = 1
    marked[:rows, :20] = True
    assert run([answer_with(marked)], batch_of(mask))["recall_small"] == recall


@pytest.mark.parametrize("flag", ["is_box", "has_mask"])
def test_images_without_exact_masks_do_not_count(flag: str) -> None:
    predictions, batch = random_scenes(1)
    setattr(batch, flag, torch.full((len(batch.mask),), flag == "is_box"))
    assert all(np.isnan(figure) for figure in run(predictions, batch).values())
