"""Holds the anomaly figures against scikit-learn and a brute-force AUPRO."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from datamodules.sample import Batch, Prediction
from lightning_modules.metrics.anomaly import AnomalyMetrics
from tests.lightning_modules.small_parts import batch_of

IMAGE_FIGURES = ("image_auroc", "image_ap", "image_f1_best", "image_threshold_best")


def random_case(seed: int, count: int = 6, *, defective: int = 4) -> tuple[list[Prediction], Batch]:
    """Images of 40 x 30 px, the first `defective` of them with a large and a small defect."""
    generator = np.random.default_rng(seed)
    mask = np.zeros((count, 40, 30), dtype=np.int64)
    mask[:defective, 3:15, 4:20] = 1
    mask[:defective, 30:33, 10:14] = 2
    maps = 1 / (1 + np.exp(-(generator.normal(-2, 1, mask.shape) + 1.5 * (mask > 0))))
    predictions = [
        Prediction(
            label_map=torch.zeros(40, 30, dtype=torch.int64),
            anomaly_map=torch.from_numpy(single).float(),
            image_score=float(generator.random() * 0.5 + 0.3 * (index < defective)),
            type_scores=torch.ones(3) / 3,
            type_id=0,
            type_map=torch.ones(40, 30, dtype=torch.int64),
        )
        for index, single in enumerate(maps)
    ]
    return predictions, batch_of(mask)


def run(predictions: list[Prediction], batch: Batch) -> dict[str, float]:
    metric = AnomalyMetrics()
    metric.update(predictions, batch)
    return {name: float(figure) for name, figure in metric.compute().items()}


def brute_force_aupro(maps: np.ndarray, truth: np.ndarray, limit: float) -> float:
    """Every distinct score as a threshold, every region by itself, then the trapezoid rule."""
    points = [(0.0, 0.0)]
    regions = [ndimage.label(single, structure=np.ones((3, 3)))[0] for single in truth]
    for threshold in np.unique(maps)[::-1]:
        found = maps >= threshold
        overlaps = [
            (found[image] & (labels == region)).sum() / (labels == region).sum()
            for image, labels in enumerate(regions)
            for region in range(1, labels.max() + 1)
        ]
        points.append((found[~truth].mean(), float(np.mean(overlaps))))
        if points[-1][0] > limit:
            break
    rate, overlap = np.array(points).T
    grid = np.linspace(0, limit, 20001)
    return float(np.trapezoid(np.interp(grid, rate, overlap), grid) / limit)


def test_pixel_ranking_equals_sklearn() -> None:
    predictions, batch = random_case(0)
    scores = np.concatenate([p.anomaly_map.numpy().ravel() for p in predictions])
    truth = batch.mask.numpy().ravel() > 0
    figures = run(predictions, batch)
    assert figures["pixel_auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-4)
    assert figures["pixel_ap"] == pytest.approx(average_precision_score(truth, scores), abs=5e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_ranking_and_region_overlap_equal_anomalibs(seed: int) -> None:
    reason = "anomalib is not installed, which is compared where it is"
    overlap = pytest.importorskip("anomalib.metrics.aupro", reason=reason)._AUPRO(fpr_limit=0.3)
    ranking = pytest.importorskip("anomalib.metrics.auroc", reason=reason)._AUROC()
    predictions, batch = random_case(seed)
    maps, truth = torch.stack([one.anomaly_map for one in predictions]), (batch.mask > 0).long()
    overlap.update(maps, truth)
    ranking.update(maps.flatten(), truth.flatten())
    figures = run(predictions, batch)
    # Ours counts scores in bins.
    assert figures["aupro"] == pytest.approx(float(overlap.compute()), abs=1e-4)
    assert figures["pixel_auroc"] == pytest.approx(float(ranking.compute()), abs=1e-4)


def test_image_ranking_equals_sklearn() -> None:
    predictions, batch = random_case(1, count=30, defective=12)
    scores = [prediction.image_score for prediction in predictions]
    truth = [bool(ids) for ids in batch.class_ids]
    figures = run(predictions, batch)
    assert figures["image_auroc"] == pytest.approx(roc_auc_score(truth, scores), abs=1e-6)
    assert figures["image_ap"] == pytest.approx(average_precision_score(truth, scores), abs=1e-6)
    best = max(f1_score(truth, np.array(scores) >= score) for score in scores)
    assert figures["image_f1_best"] == pytest.approx(best, abs=1e-6)


@pytest.mark.parametrize("seed", [2, 3])
def test_aupro_equals_brute_force_over_every_threshold_and_region(seed: int) -> None:
    predictions, batch = random_case(seed, count=3, defective=2)
    maps = np.stack([prediction.anomaly_map.numpy() for prediction in predictions])
    expected = brute_force_aupro(maps, batch.mask.numpy() > 0, 0.3)
    assert run(predictions, batch)["aupro"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("defective", [0, 6])
def test_without_both_kinds_of_image_the_image_ranking_has_no_answer(defective: int) -> None:
    figures = run(*random_case(8, defective=defective))
    assert all(np.isnan(figures[name]) for name in IMAGE_FIGURES)
    assert np.isnan(figures["aupro"]) == (defective == 0)


def test_best_mean_overlap_equals_trying_every_threshold() -> None:
    predictions, batch = random_case(3)
    maps = np.stack([prediction.anomaly_map.numpy() for prediction in predictions[:4]])
    truth = batch.mask[:4].numpy() > 0

    def mean_overlap(threshold: float) -> float:
        found = maps >= threshold
        both = (found & truth).sum((1, 2)) / (found | truth).sum((1, 2))
        return float(both.mean())

    figures = run(predictions, batch)
    best = max(mean_overlap(threshold) for threshold in np.unique(maps))
    assert figures["iou_image_best"] == pytest.approx(best, abs=1e-3)
    assert mean_overlap(figures["iou_image_threshold_best"]) == pytest.approx(best, abs=1e-3)
