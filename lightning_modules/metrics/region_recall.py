"""Which defects are found, by their size."""

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from datamodules.sample import GOOD_ID, Batch, Prediction
from lightning_modules.metrics.regions import find_regions

SIZES = ("small", "medium", "large")
# COCO's limits, in pixels of the image as it is: a medium region has at least the first.
MEDIUM_PX, LARGE_PX = 32**2, 96**2


class RegionRecall(Metric):
    """`recall_small`, `recall_medium` and `recall_large`: share of true regions that are found.

    A region is an 8-connected part of one type in the mask, found where at least half of its
    pixels are marked as a defect of whatever type; false alarms cost nothing here. Small is under
    32 x 32 px, large from 96 x 96 px. Images without a mask, or with boxes for one, do not count;
    a size that no region has is NaN.
    """

    full_state_update = False
    found: Tensor
    regions: Tensor

    def __init__(self) -> None:
        super().__init__()
        counts = torch.zeros(len(SIZES), dtype=torch.int64)
        self.add_state("found", counts.clone(), dist_reduce_fx="sum")
        self.add_state("regions", counts.clone(), dist_reduce_fx="sum")

    def update(self, predictions: list[Prediction], batch: Batch) -> None:
        """Counts one batch; one prediction per image of it."""
        for index, prediction in enumerate(predictions):
            if not bool(batch.has_mask[index]) or bool(batch.is_box[index]):
                continue
            truth = find_regions(batch.mask[index].cpu().numpy())
            marked = truth.places[prediction.label_map.cpu().numpy() != GOOD_ID]
            covered_px = np.bincount(marked, minlength=len(truth.areas_px) + 1)[1:]
            is_found = 2 * covered_px >= truth.areas_px
            sizes = np.digitize(truth.areas_px, (MEDIUM_PX, LARGE_PX))
            self.regions += self._by_size(sizes)
            self.found += self._by_size(sizes[is_found])

    def _by_size(self, sizes: np.ndarray) -> Tensor:
        counts = np.bincount(sizes, minlength=len(SIZES))
        return torch.from_numpy(counts).to(self.regions.device)

    def compute(self) -> dict[str, Tensor]:
        """The figures, each a scalar in [0, 1] or NaN."""
        shares = (self.found.double() / self.regions).float()
        return {f"recall_{size}": share for size, share in zip(SIZES, shares, strict=True)}
