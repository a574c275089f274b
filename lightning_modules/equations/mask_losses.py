"""Losses of masks and of names as pure functions (L_mask and L_cls, docs/paper.md, row 16).

Sums are divided by a `total` from outside, so that a batch may lie on several processes.
"""

import torch
from torch import Tensor
from torch.nn import functional

UNKNOWN = -100  # the class of what nobody has named: it has no loss


def binary_mask_loss(logits: Tensor, truth: Tensor, total: Tensor | float) -> Tensor:
    """Cross-entropy over points, summed over masks, per mask; logits, truth: (M, P)."""
    loss = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return loss.mean(-1).sum() / total


def dice_loss(logits: Tensor, truth: Tensor, total: Tensor | float) -> Tensor:
    """One minus smoothed dice, summed over masks, per mask; logits, truth: (M, P)."""
    probability = logits.sigmoid()
    dice = (2 * (probability * truth).sum(-1) + 1) / (probability.sum(-1) + truth.sum(-1) + 1)
    return (1 - dice).sum() / total


def box_loss(logits: Tensor, boxes: Tensor, total: Tensor | float) -> Tensor:
    """What masks (M, h, w) lack to fit boxes (M, h, w) bool, summed over masks, per mask.

    Each line of a box must hold some of the mask, along rows and along columns, and nothing may
    lie outside: how the mask fills its box is left open. After BoxInst (Tian 2021), whose
    projections are taken from one box at a time; here a mask may have several.
    """
    probability = logits.sigmoid()
    rows = line_loss(probability, boxes)
    columns = line_loss(probability.transpose(1, 2), boxes.transpose(1, 2))
    return (rows + columns).sum() / total


def line_loss(probability: Tensor, boxes: Tensor) -> Tensor:
    """One minus the dice of the peaks of stretches along the last axis, (M,), both (M, h, w).

    A stretch is a piece of a line inside a box, whose peak should be 1, or outside, 0.
    """
    crossings = boxes[..., 1:] != boxes[..., :-1]
    stretch = functional.pad(crossings, (1, 0)).cumsum(-1)
    nothing = torch.zeros_like(probability)
    peaks = nothing.scatter_reduce(-1, stretch, probability, "amax").flatten(1)
    wanted = nothing.scatter_reduce(-1, stretch, boxes.to(nothing.dtype), "amax").flatten(1)
    overlap = 2 * (peaks * wanted).sum(-1)
    return 1 - (overlap + 1) / (peaks.square().sum(-1) + wanted.sum(-1) + 1)


def class_weights(class_count: int, good_weight: float, *, like: Tensor) -> Tensor:
    """The weight of each class, (K+1,): that of "good", and 1 of each defect."""
    weights = torch.ones(class_count, device=like.device, dtype=like.dtype)
    weights[0] = good_weight
    return weights


def class_loss(logits: Tensor, target: Tensor, good_weight: float, total: Tensor | float) -> Tensor:
    """Cross-entropy over names, the answer "good" weighted down, per weight `total`.

    logits: (N, K+1); target: (N,) int64, where UNKNOWN counts for nothing.
    """
    weights = class_weights(logits.shape[-1], good_weight, like=logits)
    summed = functional.cross_entropy(
        logits, target, weight=weights, ignore_index=UNKNOWN, reduction="sum"
    )
    return summed / total


def uncertain_points(logits: Tensor, candidates: Tensor, random: Tensor, keep: int) -> Tensor:
    """The `keep` candidate points with the least certain logits, joined by the random ones.

    logits: (M, C) at candidates (M, C, 2); random: (M, R, 2); result (M, keep + R, 2).
    """
    chosen = (-logits.abs()).topk(keep, dim=1).indices
    picked = torch.gather(candidates, 1, chosen[..., None].expand(-1, -1, 2))
    return torch.cat([picked, random], dim=1)
