"""Connected regions of a map of class ids, their areas and boxes, and how far regions overlap."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import ndimage

from datamodules.sample import GOOD_ID, VOTE_POWER, Instance


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


def names_by_vote(regions: Regions, type_map: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """(R,) int64 the type that each region's pixels vote for, as in a prediction; 0 without a vote.

    type_map: (H, W) int64 best types; scores: (H, W) theirs, in [0, 1].
    """
    width = int(type_map.max(initial=0)) + 2
    places = regions.places.astype(np.int64) * width + type_map
    size = (len(regions.class_ids) + 1) * width
    weights = scores.ravel().astype(np.float64) ** VOTE_POWER
    votes = np.bincount(places.ravel(), weights=weights, minlength=size)
    by_region = votes.reshape(-1, width)[1:, 1:]
    return np.where(by_region.max(1) > 0, 1 + by_region.argmax(1), 0)


def mask_overlaps(answers: Sequence[Instance], truth: Regions) -> np.ndarray:
    """IoU of each answer's mask with each true region, (D, R); answers may overlap."""
    counts = np.zeros((len(answers), len(truth.class_ids) + 1), dtype=np.int64)
    for row, answer in zip(counts, answers, strict=True):
        left, top, width, height = answer.box_xywh_px
        window = (slice(top, top + height), slice(left, left + width))
        inside = answer.mask[window].numpy()
        row += np.bincount(truth.places[window][inside], minlength=len(row))
    areas_px, shared = counts.sum(1, keepdims=True), counts[:, 1:]
    return shared / (areas_px + truth.areas_px - shared)


def box_overlaps(answers: Sequence[Instance], truth: Regions) -> np.ndarray:
    """IoU of each answer's box with each true region's, (D, R)."""
    boxes = np.array([one.box_xywh_px for one in answers], dtype=np.int64).reshape(-1, 1, 4)
    first, second = boxes, truth.boxes_xywh_px[None]
    start = np.maximum(first[..., :2], second[..., :2])
    end = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    shared = (end - start).clip(0).prod(axis=-1)
    return shared / (first[..., 2:].prod(axis=-1) + second[..., 2:].prod(axis=-1) - shared)
