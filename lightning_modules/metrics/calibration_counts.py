"""What the choice of thresholds needs of a split, counted; `calibration.py` chooses from it."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torchmetrics import Metric

from datamodules.sample import GOOD_ID, VOTE_POWER, Batch, Prediction
from lightning_modules.metrics.score_histogram import (
    bin_scores,
    count_scores,
    overlap_at_thresholds,
)
from lightning_modules.metrics.segmentation import from_units, to_units

RELIABILITY_BINS = 15
# One 64th of a logit each: 0.4 % of a score around the middle, finer towards 0 and 1.
SCORE_BINS = 2048


class CalibrationCounts(Metric):
    """Histograms of image scores and of each type's peaks, and overlap by threshold and type.

    Row 0 of a state stands for any defect, row k for type k. A type's peak is the highest anomaly
    score where it is the best type, 0 where it is nowhere. Overlap is the foreground's, whatever
    its names, over the images that show the type with a mask or filled boxes. `named` counts those
    images whose marked pixels of the type vote for it, and all that show it. Logged are the
    expected calibration errors, 15 bins: `ece_image` of the image score, `ece_type` of all type
    scores together.
    """

    full_state_update = False
    image_counts: Tensor
    peak_counts: Tensor
    overlap_sum: Tensor
    overlap_count: Tensor
    named: Tensor
    reliability: Tensor

    def __init__(self, class_names: Sequence[str]) -> None:
        """class_names: a vocabulary's names, good first."""
        super().__init__()
        self.class_names = tuple(class_names)
        shapes = {
            "image_counts": (2, SCORE_BINS),
            "peak_counts": (len(class_names), 2, SCORE_BINS),
            "overlap_sum": (len(class_names), SCORE_BINS),
            "overlap_count": (len(class_names),),
            "named": (len(class_names), 2),
            "reliability": (len(class_names), RELIABILITY_BINS, 3),
        }
        for name, shape in shapes.items():
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: list[Prediction], batch: Batch) -> None:
        """Counts one batch; one prediction per image of it."""
        device = self.image_counts.device
        for index, prediction in enumerate(predictions):
            is_shown = torch.zeros(len(self.class_names), dtype=torch.bool, device=device)
            is_shown[list(batch.class_ids[index])] = True
            is_shown[GOOD_ID] = bool(batch.class_ids[index])
            self._count_scores(prediction, is_shown)
            is_defect = batch.mask[index].to(device) != GOOD_ID
            if batch.has_mask[index]:
                self._count_names(prediction, batch.mask[index].to(device))
            if bool(batch.has_mask[index]) and is_defect.any():
                counts = count_scores(prediction.anomaly_map.to(device), is_defect, SCORE_BINS)
                self.overlap_sum[is_shown] += to_units(overlap_at_thresholds(counts))
                self.overlap_count[is_shown] += 1

    def _count_scores(self, prediction: Prediction, is_shown: Tensor) -> None:
        """Counts what is one number per image and type; is_shown: (K+1,) the truth."""
        device = is_shown.device
        score = torch.tensor([prediction.image_score], device=device)
        self.image_counts += count_scores(score, is_shown[:1], SCORE_BINS)
        anomaly_map = prediction.anomaly_map.to(device).float()
        peaks = torch.zeros(len(self.class_names), device=device)
        place = prediction.type_map.to(device).flatten()
        peaks.scatter_reduce_(0, place, anomaly_map.flatten(), "amax")
        peaks[GOOD_ID] = anomaly_map.max()
        rows = torch.arange(len(peaks), device=device)
        self.peak_counts[rows, is_shown.long(), bin_scores(peaks, SCORE_BINS)] += 1
        scores = prediction.type_scores.to(device).double().clone()
        scores[GOOD_ID] = prediction.image_score
        bins = (scores * RELIABILITY_BINS).long().clamp(0, RELIABILITY_BINS - 1)
        seen = torch.stack([torch.ones_like(bins), is_shown.long(), to_units(scores)], dim=1)
        self.reliability[rows, bins] += seen

    def _count_names(self, prediction: Prediction, mask: Tensor) -> None:
        """Counts which types' pixels vote for them, as those of a region do; mask: (H, W) ids."""
        types, votes = prediction.type_map.to(mask.device), prediction.anomaly_map.to(mask.device)
        for class_id in mask[mask != GOOD_ID].unique().tolist():
            inside = mask == class_id
            shares = torch.zeros(len(self.class_names), device=mask.device)
            shares.index_add_(0, types[inside], votes[inside].float() ** VOTE_POWER)
            for row in (GOOD_ID, class_id):
                self.named[row, 0] += int(shares.argmax()) == class_id
                self.named[row, 1] += 1

    def compute(self) -> dict[str, Tensor]:
        """The expected calibration errors, each a scalar in [0, 1], NaN without images."""
        image, types = self.reliability[:1].sum(0), self.reliability[1:].sum(0)
        return {
            "ece_image": expected_calibration_error(image).float(),
            "ece_type": expected_calibration_error(types).float(),
        }


def expected_calibration_error(reliability: Tensor) -> Tensor:
    """Mean distance between score and share of true ones over bins, weighted by their counts.

    reliability: (bins, 3) int64 number, number of true ones, and sum of scores in units.
    """
    count, hits, score = reliability[:, 0], reliability[:, 1], from_units(reliability[:, 2])
    return (hits - score).abs().sum() / count.sum()
