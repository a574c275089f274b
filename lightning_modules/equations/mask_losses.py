"""Losses of masks and of names as pure functions (L_mask and L_cls, NOTES row 16)."""

import torch
from torch import Tensor
from torch.nn import functional


def binary_mask_loss(logits: Tensor, truth: Tensor, mask_count: float) -> Tensor:
    """Cross-entropy over points, summed over masks, per mask; logits, truth: (M, P)."""
    loss = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return loss.mean(-1).sum() / mask_count


def dice_loss(logits: Tensor, truth: Tensor, mask_count: float) -> Tensor:
    """One minus smoothed dice, summed over masks, per mask; logits, truth: (M, P)."""
    probability = logits.sigmoid()
    dice = (2 * (probability * truth).sum(-1) + 1) / (probability.sum(-1) + truth.sum(-1) + 1)
    return (1 - dice).sum() / mask_count


def class_loss(logits: Tensor, target: Tensor, good_weight: float) -> Tensor:
    """Cross-entropy over names, the answer "good" weighted down; logits: (N, K+1), target: (N,)."""
    weight = torch.ones(logits.shape[-1], device=logits.device)
    weight[0] = good_weight
    return functional.cross_entropy(logits, target, weight=weight)


def uncertain_points(logits: Tensor, candidates: Tensor, random: Tensor, keep: int) -> Tensor:
    """The `keep` candidate points with the least certain logits, joined by the random ones.

    logits: (M, C) at candidates (M, C, 2); random: (M, R, 2); result (M, keep + R, 2).
    """
    chosen = (-logits.abs()).topk(keep, dim=1).indices
    picked = torch.gather(candidates, 1, chosen[..., None].expand(-1, -1, 2))
    return torch.cat([picked, random], dim=1)
