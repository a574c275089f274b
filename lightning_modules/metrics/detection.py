"""COCO's mean average precision of instances, and which true regions are found, by their size.

From counts, so that no instance need be kept; the regions are found in `regions.py`.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from datamodules.sample import GOOD_ID, Batch, Instance, Prediction
from lightning_modules.metrics.regions import (
    Regions,
    box_overlaps,
    find_regions,
    mask_overlaps,
)
from lightning_modules.metrics.score_histogram import bin_scores

OVERLAPS = {"box": box_overlaps, "mask": mask_overlaps}
THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = torch.linspace(0, 1, 101, dtype=torch.float64)
MOST_PER_TYPE = 100
# Over all types: with 421 of them the state has 46 MB, and each type few scores to tell apart.
MOST_BINS = 2**19
SIZES = ("small", "medium", "large")
# COCO's limits, in pixels of the image as it is: a medium region has at least the first.
MEDIUM_PX, LARGE_PX = 32**2, 96**2


class DetectionMetrics(Metric):
    """`box_map_50`, `box_map_75`, `box_map` (mean over IoU 0.50 to 0.95), the same of masks, and
    `recall_small`, `recall_medium`, `recall_large`.

    Truths are the 8-connected regions of each type in the mask, of any area. Where the mask is
    made of boxes these are the boxes (those of one type that touch are one), and count for boxes
    alone. Means are over the types that occur. What a system does not list, as stage 2 what lies
    under its thresholds, lowers the recall. Images without a mask do not count; figures without an
    answer are NaN. Scores of one bin count as tied: against COCO's own code figures differ by under
    5e-4 where few are.

    A true region is found where at least half of its pixels are marked as a defect of whatever
    type; false alarms cost no recall. Small is under 32 x 32 px, large from 96 x 96 px.
    """

    full_state_update = False
    hits: Tensor
    answers: Tensor
    truths: Tensor
    found: Tensor
    regions: Tensor

    def __init__(self, class_names: Sequence[str], bins: int = 16384) -> None:
        """class_names: a vocabulary's, good first; bins: of scores, fewer for many types."""
        super().__init__()
        kinds, types, levels = len(OVERLAPS), len(class_names) - 1, len(THRESHOLDS)
        self.bins = bins = min(bins, MOST_BINS // max(types, 1))
        states = {
            "hits": torch.zeros(kinds, types, levels, bins, dtype=torch.int32),
            "answers": torch.zeros(kinds, types, bins, dtype=torch.int32),
            "truths": torch.zeros(kinds, types, dtype=torch.int64),
            "found": torch.zeros(len(SIZES), dtype=torch.int64),
            "regions": torch.zeros(len(SIZES), dtype=torch.int64),
        }
        for name, state in states.items():
            self.add_state(name, state, dist_reduce_fx="sum")

    def update(self, predictions: list[Prediction], batch: Batch) -> None:
        """Counts one batch; one prediction per image of it."""
        for index, prediction in enumerate(predictions):
            if not bool(batch.has_mask[index]):
                continue
            truth = find_regions(batch.mask[index].cpu().numpy())
            best = sorted(prediction.instances, key=lambda one: one.score, reverse=True)
            is_box = bool(batch.is_box[index])
            for kind in ("box",) if is_box else OVERLAPS:
                self._count(kind, best, truth)
            if not is_box:
                self._count_found(prediction.label_map.cpu().numpy() != GOOD_ID, truth)

    def _count(self, kind: str, best: list[Instance], truth: Regions) -> None:
        place, device = list(OVERLAPS).index(kind), self.hits.device
        overlaps = OVERLAPS[kind](best, truth)
        class_ids = np.array([one.class_id for one in best], dtype=np.int64)
        for class_id in np.union1d(class_ids, truth.class_ids):
            chosen = np.flatnonzero(class_ids == class_id)[:MOST_PER_TYPE]
            own = truth.class_ids == class_id
            self.truths[place, class_id - 1] += int(own.sum())
            hits = torch.from_numpy(match(overlaps[chosen][:, own])).int().to(device)
            score_bins = bin_scores(torch.tensor([best[k].score for k in chosen]), self.bins)
            score_bins = score_bins.to(device)
            self.hits[place, class_id - 1].index_add_(1, score_bins, hits)
            ones = torch.ones_like(score_bins, dtype=torch.int32)
            self.answers[place, class_id - 1].index_add_(0, score_bins, ones)

    def _count_found(self, is_marked: np.ndarray, truth: Regions) -> None:
        """Counts the true regions by size; is_marked: (H, W) bool."""
        covered_px = np.bincount(truth.places[is_marked], minlength=len(truth.areas_px) + 1)[1:]
        is_found = 2 * covered_px >= truth.areas_px
        sizes = np.digitize(truth.areas_px, (MEDIUM_PX, LARGE_PX))
        for state, chosen in ((self.regions, sizes), (self.found, sizes[is_found])):
            counts = np.bincount(chosen, minlength=len(SIZES))
            state += torch.from_numpy(counts).to(state.device)

    def compute(self) -> dict[str, Tensor]:
        """The figures, each a scalar in [0, 1] or NaN."""
        figures: dict[str, Tensor] = {}
        for place, kind in enumerate(OVERLAPS):
            mean = self._mean_over_types(place)
            figures[f"{kind}_map"] = mean.mean()
            figures[f"{kind}_map_50"], figures[f"{kind}_map_75"] = mean[0], mean[5]
        for size, found, regions in zip(SIZES, self.found, self.regions, strict=True):
            figures[f"recall_{size}"] = found.double() / regions
        return {name: figure.float().to(self.hits.device) for name, figure in figures.items()}

    def _mean_over_types(self, place: int) -> Tensor:
        """Average precision at each of THRESHOLDS, (10,), NaN where no type occurs."""
        of_types = [
            interpolated_precision(hits.cpu(), answers.cpu(), truths.cpu())
            for hits, answers, truths in zip(
                self.hits[place], self.answers[place], self.truths[place], strict=True
            )
            if truths > 0
        ]
        if not of_types:
            return torch.full((len(THRESHOLDS),), torch.nan)
        return torch.stack(of_types).mean(0)


def match(overlaps: np.ndarray) -> np.ndarray:
    """Which answers hit a truth at each of THRESHOLDS, (10, D) bool, by COCO's rule.

    overlaps: (D, R) IoU of answers, best score first, with truths. Each answer in turn takes the
    truth that it overlaps most among those that are left, the last one of equals.
    """
    answers, truths = overlaps.shape
    is_hit = np.zeros((len(THRESHOLDS), answers), dtype=bool)
    if not truths:
        return is_hit
    is_free = np.ones((len(THRESHOLDS), truths), dtype=bool)
    for number, overlap in enumerate(overlaps):
        left = np.where(is_free, overlap, -1.0)
        best = truths - 1 - left[:, ::-1].argmax(axis=1)
        is_hit[:, number] = left[np.arange(len(left)), best] >= THRESHOLDS
        is_free[is_hit[:, number], best[is_hit[:, number]]] = False
    return is_hit


def interpolated_precision(hits: Tensor, answers: Tensor, truths: Tensor) -> Tensor:
    """COCO's average precision of one type, (...,): best precision from each of 101 recalls on.

    hits: (..., bins) and answers: (bins,) counts by score; truths: their number, at least 1.
    """
    found = hits.double().flip(-1).cumsum(-1)
    precision = found / answers.double().flip(-1).cumsum(-1).clamp(min=1)
    envelope = precision.flip(-1).cummax(-1).values.flip(-1)
    envelope = torch.nn.functional.pad(envelope, (0, 1))  # a recall that is never reached
    recalls = RECALLS.expand(*hits.shape[:-1], -1).contiguous()
    reached = torch.searchsorted(found / truths.double(), recalls)
    return envelope.gather(-1, reached).mean(-1)
