"""From an image to the square that a box detector sees, and from its boxes to a Prediction."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import batched_nms

from datamodules.sample import GOOD_ID, Instance, Prediction
from lightning_modules.nets.post_processing import PostProcessing

# Scores from which a box counts for the mean average precision, and that no more may overlap.
LOWEST_SCORE, MOST_OVERLAP = 1e-3, 0.7
# Of one image before boxes of one type are thinned out: else an untrained net takes minutes.
MOST_CANDIDATES = 3000
# What is no image in a square, of [-1, 1].
FILL = 114 / 127.5 - 1


@dataclass(frozen=True, slots=True)
class Boxes:
    """N boxes of one image, best first: (N, 4) left, top, right, bottom in px; scores (N,) in
    [0, 1]; class_ids (N,) int64 from 0.
    """

    boxes: Tensor
    scores: Tensor
    class_ids: Tensor


def letterboxed(image: Tensor, side_px: int) -> Tensor:
    """Image (3, H, W) in [-1, 1] in the middle of a square, its shape kept, the rest grey."""
    left, top, width, height = inner_window(image.shape[-2:], side_px)
    if (height, width) != image.shape[-2:]:
        image = functional.interpolate(
            image[None], (height, width), mode="bilinear", antialias=True
        )[0]
    sides = (left, side_px - left - width, top, side_px - top - height)
    return functional.pad(image, sides, value=FILL)


def inner_window(size_px: Sequence[int], side_px: int) -> tuple[int, int, int, int]:
    """Left, top, width and height in the square of an image of size_px (height, width)."""
    height, width = (max(1, round(length * side_px / max(size_px))) for length in size_px)
    return (side_px - width) // 2, (side_px - height) // 2, width, height


def from_square(boxes: Tensor, size_px: Sequence[int], side_px: int) -> Tensor:
    """Boxes (N, 4) of a letterboxed square in the pixels of the image, cut off at its edges."""
    left, top, width, height = inner_window(size_px, side_px)
    scale = boxes.new_tensor([size_px[1] / width, size_px[0] / height])
    corners = (boxes.view(-1, 2, 2) - boxes.new_tensor([left, top])) * scale
    return corners.clamp(min=0).minimum(boxes.new_tensor([size_px[1], size_px[0]])).flatten(1)


def best_boxes(scores: Tensor, boxes: Tensor, *, most: int) -> Boxes:
    """The boxes that no better one of their type covers; scores: (A, K), boxes: (A, 4)."""
    best, index = scores.flatten().topk(min(MOST_CANDIDATES, scores.numel()))
    index, best = index[best > LOWEST_SCORE], best[best > LOWEST_SCORE]
    place, class_ids = index // scores.shape[1], index % scores.shape[1]
    kept = batched_nms(boxes[place], best, class_ids, MOST_OVERLAP)[:most]
    return Boxes(boxes[place[kept]], best[kept], class_ids[kept])


def predict_from_boxes(
    found: Boxes,
    size_px: Sequence[int],
    class_count: int,
    post_processing: PostProcessing,
    device: torch.device,
) -> Prediction:
    """The Prediction of an image of size_px (height, width) whose instances are all its boxes.

    Maps hold the best box at each pixel, filled. The image's score is that of the best box, its
    type that of the best one which reaches the thresholds of its type; label_map shows those.
    class_count: with good.
    """
    instances = [
        to_instance(1 + class_id, score, box, size_px)
        for box, score, class_id in zip(
            found.boxes.tolist(), found.scores.tolist(), found.class_ids.tolist(), strict=True
        )
    ]
    listed = listed_instances(instances, post_processing)
    anomaly_map = np.zeros(size_px, dtype=np.float32)
    type_map, label_map = np.ones(size_px, dtype=np.int64), np.zeros(size_px, dtype=np.int64)
    for one in reversed(instances):
        anomaly_map[window_of(one)], type_map[window_of(one)] = one.score, one.class_id
    for one in reversed(listed):
        label_map[window_of(one)] = one.class_id
    best = torch.zeros(class_count)
    for one in reversed(instances):
        best[one.class_id] = one.score
    score = float(best.max())
    shares = best / best.sum() if score else torch.full_like(best, 1 / (class_count - 1))
    type_scores = score * shares
    type_scores[GOOD_ID] = 1 - score
    names = [one.class_id for one in listed] or [1 + int(best[1:].argmax())]
    return Prediction(
        label_map=torch.from_numpy(label_map).to(device),
        anomaly_map=torch.from_numpy(anomaly_map).to(device),
        image_score=score,
        type_scores=type_scores.to(device),
        type_id=names[0] if score >= post_processing.points.image else GOOD_ID,
        type_map=torch.from_numpy(type_map).to(device),
        instances=instances,
        needs_review=post_processing.points.needs_review(score),
    )


def to_instance(
    class_id: int, score: float, box: Sequence[float], size_px: Sequence[int]
) -> Instance:
    """A box as whole pixels, at least one, filled."""
    (left, right), (top, bottom) = (
        whole_pixels(box[axis], box[axis + 2], size_px[1 - axis]) for axis in (0, 1)
    )
    mask = torch.zeros(*size_px, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return Instance(class_id, score, mask, (left, top, right - left, bottom - top))


def whole_pixels(start: float, end: float, length_px: int) -> tuple[int, int]:
    """The nearest whole pixels from start to end, at least one of length_px."""
    first = min(round(start), length_px - 1)
    return first, min(max(round(end), first + 1), length_px)


def window_of(one: Instance) -> tuple[slice, slice]:
    """Rows and columns of an instance's box."""
    left, top, width, height = one.box_xywh_px
    return slice(top, top + height), slice(left, left + width)


def listed_instances(instances: list[Instance], post_processing: PostProcessing) -> list[Instance]:
    """Those whose score reaches what a region of their type must reach."""
    entries, points = post_processing.entries, post_processing.points
    begins = [points.of_class(words) for words in entries]
    return [
        one
        for one in instances
        if one.score >= max(begins[one.class_id].pixel, begins[one.class_id].alarm)
    ]
