"""Boxes of an anchor-free detector as pure functions: places, distances, assignment, losses.

Boxes are (left, top, right, bottom) in pixels. Sides are learned as distributions over whole
distances (GFL, arXiv 2006.04388), places are given to truths by how well they name and fit them
(TOOD, arXiv 2108.07755), fit is complete IoU (arXiv 1911.08287).
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional
from torchvision.ops import complete_box_iou_loss

BINS = 16
FARTHEST = BINS - 1 - 0.01
# TOOD's: places per truth, and the powers of the name's score and of the fit.
PLACES_PER_TRUTH = 10
ALPHA, BETA = 0.5, 6.0
EPS = 1e-9


@dataclass(frozen=True, slots=True)
class Places:
    """The A places that answer, level after level: centres (A, 2) x, y and strides (A, 1), px."""

    centres: Tensor
    strides: Tensor


@dataclass(frozen=True, slots=True)
class Truth:
    """The G true boxes of one image: boxes (G, 4), class_ids (G,) int64 from 0."""

    boxes: Tensor
    class_ids: Tensor


@dataclass(frozen=True, slots=True)
class BoxLosses:
    """Three scalars, each over the sum of all soft targets."""

    fit: Tensor
    names: Tensor
    distances: Tensor


def places_of(height_px: int, width_px: int, strides: tuple[int, ...], *, like: Tensor) -> Places:
    """The middles of the cells of each level, row by row."""
    centres, sizes = [], []
    for stride in strides:
        y, x = (
            (torch.arange(length // stride, device=like.device) + 0.5) * stride
            for length in (height_px, width_px)
        )
        rows, columns = torch.meshgrid(y, x, indexing="ij")
        centres.append(torch.stack([columns.flatten(), rows.flatten()], dim=1))
        sizes.append(torch.full((rows.numel(), 1), float(stride), device=like.device))
    return Places(torch.cat(centres), torch.cat(sizes))


def expected_distances(bin_logits: Tensor, bins: Tensor) -> Tensor:
    """Mean distances (..., 4), in strides, of logits (..., 4, BINS); bins: 0 to BINS - 1."""
    return (bin_logits.float().softmax(-1) * bins).sum(-1)  # autocast would round a product


def to_boxes(distances: Tensor, places: Places) -> Tensor:
    """Boxes (..., A, 4) whose left, top, right and bottom lie so many strides from their place."""
    before, after = (distances * places.strides).chunk(2, dim=-1)
    return torch.cat([places.centres - before, places.centres + after], dim=-1)


def to_distances(boxes: Tensor, places: Places) -> Tensor:
    """The inverse of `to_boxes`, in what the distributions can say."""
    before, after = places.centres - boxes[..., :2], boxes[..., 2:] - places.centres
    return (torch.cat([before, after], dim=-1) / places.strides).clamp(0, FARTHEST)


def complete_iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU less the distance of centres and the difference of shapes, (N,), of boxes (N, 4)."""
    return 1 - complete_box_iou_loss(first, second)


@torch.no_grad()
def assign_places(
    scores: Tensor, boxes: Tensor, places: Places, truth: Truth
) -> tuple[Tensor, Tensor]:
    """Which truth each place learns, (A,) int64, and its soft target in [0, 1], 0 for none, (A,).

    scores: (A, K) in [0, 1] and boxes: (A, 4), as predicted now. Of the places inside a truth the
    ten of the best `score^alpha CIoU^beta` learn it; one that several want learns the one it fits
    most. Targets follow that figure; the best one's is the best fit.
    """
    if not len(truth.boxes):
        return truth.class_ids.new_zeros(len(boxes)), boxes.new_zeros(len(boxes))
    start, end = truth.boxes[:, None, :2], truth.boxes[:, None, 2:]
    inside = ((places.centres > start) & (places.centres < end)).all(-1)
    rows, columns = inside.nonzero(as_tuple=True)
    fit = boxes.new_zeros(inside.shape)
    fit[rows, columns] = complete_iou(boxes[columns], truth.boxes[rows]).clamp(min=0)
    aligned = scores.T[truth.class_ids] ** ALPHA * fit**BETA
    count = min(PLACES_PER_TRUTH, len(boxes))
    best = aligned.masked_fill(~inside, -1).topk(count, dim=1).indices
    chosen = torch.zeros_like(inside).scatter_(1, best, True) & inside
    owner = fit.masked_fill(~chosen, -1).argmax(0)
    kept = chosen & (owner == torch.arange(len(truth.boxes), device=boxes.device)[:, None])
    aligned, fit = aligned * kept, fit * kept
    target = aligned * fit.amax(1, keepdim=True) / (aligned.amax(1, keepdim=True) + EPS)
    return owner, target.sum(0)


def distribution_loss(bin_logits: Tensor, distances: Tensor) -> Tensor:
    """Cross-entropy of the two whole distances around each true one, by nearness, (N,).

    bin_logits: (N, 4, BINS); distances: (N, 4) in [0, FARTHEST].
    """
    below = distances.long()
    share = distances - below
    logits = bin_logits.float().movedim(-1, 1)
    lower, upper = (
        functional.cross_entropy(logits, one, reduction="none") for one in (below, below + 1)
    )
    return (lower * (1 - share) + upper * share).mean(-1)


def box_losses(
    class_logits: Tensor, bin_logits: Tensor, bins: Tensor, places: Places, truths: list[Truth]
) -> BoxLosses:
    """The losses of a batch; class_logits: (B, A, K), bin_logits: (B, A, 4, BINS), one truth each.

    Without any truth only the names count.
    """
    class_logits = class_logits.float()
    boxes = to_boxes(expected_distances(bin_logits, bins), places)
    scores = class_logits.detach().sigmoid()
    wanted = torch.zeros_like(class_logits)
    weight = wanted.new_zeros(wanted.shape[:2])
    aims = torch.zeros_like(boxes)
    for image, truth in enumerate(truths):
        if not len(truth.boxes):
            continue
        owner, target = assign_places(scores[image], boxes[image].detach(), places, truth)
        wanted[image].scatter_(1, truth.class_ids[owner][:, None], target[:, None])
        weight[image], aims[image] = target, truth.boxes[owner]
    total = weight.sum().clamp(min=1)
    names = functional.binary_cross_entropy_with_logits(class_logits, wanted, reduction="sum")
    learns = weight > 0
    shares = weight[learns] / total
    fit = (shares * complete_box_iou_loss(boxes[learns], aims[learns])).sum()
    distances = to_distances(aims, places)[learns]
    spread = (shares * distribution_loss(bin_logits[learns], distances)).sum()
    return BoxLosses(fit, names / total, spread)
