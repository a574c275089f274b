"""Connected regions of a map of class ids, how far they overlap, and which are found, by size."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from scipy import ndimage
from torch import Tensor
from torchmetrics import Metric

from datamodules.sample import GOOD_ID, Batch, Instance, Prediction


@dataclass(frozen=True, slots=True)
class Regions:
    """R regions of one image that share no pixel.

    places: (H, W) int32, which region each pixel belongs to, 1..R, 0 for none; class_ids and
    areas_px: (R,) int64; boxes_xywh_px: (R, 4) int64.
    """

    places: np.ndarray
    class_ids: np.ndarray
    areas_px: np.ndarray
    boxes_xywh_px: np.ndarray


def find_regions(class_map: np.ndarray) -> Regions:
    """The 8-connected regions of each class but good in class_map (H, W), class after class."""
    places = np.zeros(class_map.shape, dtype=np.int32)
    class_ids: list[int] = []
    for class_id in np.flatnonzero(np.bincount(class_map.ravel())):
        if class_id == GOOD_ID:
            continue
        inside = (class_map == class_id).view(np.uint8)
        labels, own = cv2.connectedComponents(inside, connectivity=8)
        np.copyto(places, own + len(class_ids), where=own > 0)
        class_ids += [int(class_id)] * (labels - 1)
    # OpenCV gives areas and boxes too, but takes several times as long.
    windows = ndimage.find_objects(places)
    boxes = [(x.start, y.start, x.stop - x.start, y.stop - y.start) for y, x in windows]
    return Regions(
        places,
        class_ids=np.array(class_ids, dtype=np.int64),
        areas_px=np.bincount(places.ravel(), minlength=len(class_ids) + 1)[1:],
        boxes_xywh_px=np.array(boxes, dtype=np.int64).reshape(-1, 4),
    )


def lay_out(instances: Sequence[Instance], size_px: tuple[int, int]) -> Regions:
    """The instances as the regions of one image of size_px (height, width), in their order."""
    places = np.zeros(size_px, dtype=np.int32)
    for number, instance in enumerate(instances, start=1):
        left, top, width, height = instance.box_xywh_px
        window = (slice(top, top + height), slice(left, left + width))
        places[window][instance.mask[window].numpy()] = number
    boxes = [instance.box_xywh_px for instance in instances]
    return Regions(
        places,
        class_ids=np.array([instance.class_id for instance in instances], dtype=np.int64),
        areas_px=np.bincount(places.ravel(), minlength=len(instances) + 1)[1:],
        boxes_xywh_px=np.array(boxes, dtype=np.int64).reshape(-1, 4),
    )


def mask_overlaps(answer: Regions, truth: Regions) -> np.ndarray:
    """IoU of each answered region with each true one, (D, R), from one look at each pixel."""
    count = len(truth.class_ids) + 1
    both = (answer.places > 0) & (truth.places > 0)
    pairs = answer.places[both].astype(np.int64) * count + truth.places[both]
    shared = np.bincount(pairs, minlength=(len(answer.class_ids) + 1) * count)
    shared = shared.reshape(-1, count)[1:, 1:]
    return shared / (answer.areas_px[:, None] + truth.areas_px[None] - shared)


def box_overlaps(answer: Regions, truth: Regions) -> np.ndarray:
    """IoU of each answered region's box with each true one's, (D, R)."""
    first, second = answer.boxes_xywh_px[:, None], truth.boxes_xywh_px[None]
    start = np.maximum(first[..., :2], second[..., :2])
    end = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    shared = (end - start).clip(0).prod(axis=-1)
    return shared / (first[..., 2:].prod(axis=-1) + second[..., 2:].prod(axis=-1) - shared)


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
