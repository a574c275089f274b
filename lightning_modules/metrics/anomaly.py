"""How well the anomaly map and the image score separate defect from good, names aside.

The arithmetic on histograms is in `score_histogram.py`; names are judged in `segmentation.py`.
"""

import cv2
import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from datamodules.sample import GOOD_ID, Batch, Prediction
from lightning_modules.metrics.score_histogram import (
    area_under_roc,
    average_precision,
    best_balanced_accuracy,
    best_f1,
    best_with_threshold,
    bin_scores,
    count_scores,
    overlap_at_thresholds,
    sum_from_top,
)
from lightning_modules.metrics.segmentation import from_units, to_units


class AnomalyMetrics(Metric):
    """Pixel and image AUROC, AP and best thresholds, and AUPRO, from histograms alone.

    Images without a mask, or with boxes for one, count in the image figures only. An image is
    defective when it names a type. Figures without an answer (no good or no defect seen) are NaN.
    """

    full_state_update = False
    pixel_counts: Tensor
    image_counts: Tensor
    region_weights: Tensor
    region_count: Tensor
    overlap_sum: Tensor
    overlap_count: Tensor

    def __init__(self, bins: int = 16384, *, false_positive_limit: float = 0.3) -> None:
        """bins: resolution of scores; false_positive_limit: AUPRO integrates up to there."""
        super().__init__()
        self.bins, self.false_positive_limit = bins, false_positive_limit
        shapes: dict[str, tuple[int, ...]] = {
            "pixel_counts": (2, bins),
            "image_counts": (2, bins),
            "region_weights": (bins,),
            "region_count": (),
            "overlap_sum": (bins,),
            "overlap_count": (),
        }
        for name, shape in shapes.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: list[Prediction], batch: Batch) -> None:
        """Counts the scores of one batch; one prediction per image of it."""
        device = self.pixel_counts.device
        for index, prediction in enumerate(predictions):
            score = torch.tensor([prediction.image_score], device=device)
            is_defective = torch.tensor([bool(batch.class_ids[index])], device=device)
            self.image_counts += count_scores(score, is_defective, self.bins)
            if not bool(batch.has_mask[index]) or bool(batch.is_box[index]):
                continue
            is_defect = batch.mask[index].to(device) != GOOD_ID
            anomaly_map = prediction.anomaly_map.to(device)
            counts = count_scores(anomaly_map, is_defect, self.bins)
            self.pixel_counts += counts
            if is_defect.any():
                weights, regions = weigh_regions(anomaly_map, is_defect, self.bins)
                self.region_weights += to_units(weights).to(device)
                self.region_count += regions
                self.overlap_sum += to_units(overlap_at_thresholds(counts))
                self.overlap_count += 1

    def compute(self) -> dict[str, Tensor]:
        """The figures, each a scalar in [0, 1] or NaN."""
        pixels, images = self.pixel_counts.cpu(), self.image_counts.cpu()
        pixel_f1, pixel_threshold = best_f1(pixels)
        image_f1, _ = best_f1(images)
        _, image_threshold = best_balanced_accuracy(images)
        overlap, overlap_threshold = best_with_threshold(
            from_units(self.overlap_sum.cpu()) / self.overlap_count.cpu(), pixels
        )
        figures = {
            "pixel_auroc": area_under_roc(pixels),
            "pixel_ap": average_precision(pixels),
            "pixel_f1_best": pixel_f1,
            "pixel_threshold_best": pixel_threshold,
            "iou_image_best": overlap,
            "iou_image_threshold_best": overlap_threshold,
            "aupro": area_under_region_overlap(
                pixels[GOOD_ID],
                from_units(self.region_weights.cpu()) / self.region_count.cpu(),
                limit=self.false_positive_limit,
            ),
            "image_auroc": area_under_roc(images),
            "image_ap": average_precision(images),
            "image_f1_best": image_f1,
            "image_threshold_best": image_threshold,
        }
        device = self.pixel_counts.device
        return {name: figure.float().to(device) for name, figure in figures.items()}


def weigh_regions(anomaly_map: Tensor, is_defect: Tensor, bins: int) -> tuple[Tensor, int]:
    """(bins,) histogram in which each connected truth region weighs one, and their number.

    anomaly_map: (H, W) in [0, 1]; is_defect: (H, W) bool; regions are 8-connected.
    """
    inside = is_defect.cpu().numpy()
    labels, places = cv2.connectedComponents(inside.astype(np.uint8), connectivity=8)
    region = places[inside]
    shares = 1.0 / np.bincount(region, minlength=labels)[region]
    # Picked in numpy, which is thrice as fast at it.
    scores = torch.from_numpy(anomaly_map.detach().float().cpu().numpy()[inside])
    score_bins = bin_scores(scores, bins).numpy()
    weights = np.bincount(score_bins, weights=shares, minlength=bins)
    return torch.from_numpy(weights), labels - 1


def area_under_region_overlap(good_counts: Tensor, overlap: Tensor, *, limit: float) -> Tensor:
    """AUPRO: mean overlap with truth regions over false-positive rates 0 to `limit`, in [0, 1].

    good_counts: (bins,) good pixels; overlap: (bins,) mean over regions of each bin's share.
    """
    good = good_counts.double()
    if good.sum() == 0 or not torch.isfinite(overlap).all():
        return torch.tensor(torch.nan, dtype=torch.float64)
    zero = torch.zeros(1, dtype=torch.float64)
    false_rate = torch.cat([zero, sum_from_top(good).flip(0) / good.sum()])
    region_overlap = torch.cat([zero, sum_from_top(overlap.double()).flip(0)])
    after = int(torch.searchsorted(false_rate, torch.tensor(limit, dtype=torch.float64)))
    after = max(1, min(after, len(false_rate) - 1))
    before = after - 1
    step = false_rate[after] - false_rate[before]
    share = ((limit - false_rate[before]) / step).clamp(0, 1) if step > 0 else zero[0]
    at_limit = torch.lerp(region_overlap[before], region_overlap[after], share)
    x = torch.cat([false_rate[:after], torch.tensor([limit], dtype=torch.float64)])
    y = torch.cat([region_overlap[:after], at_limit[None]])
    return torch.trapezoid(y, x) / limit
