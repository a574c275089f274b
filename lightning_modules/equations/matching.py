"""Which query answers for which defect: matching costs and the assignment (L_mask).

Costs are computed for all prediction sets at once, so that one copy to the host serves a step.
"""

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional


def sample_points(maps: Tensor, points: Tensor) -> Tensor:
    """Values of maps (B, N, H, W) at points (B, P, 2) in [0, 1] as (x, y): (B, N, P), bilinear."""
    grid = 2 * points.unsqueeze(1) - 1
    return functional.grid_sample(maps, grid, align_corners=False).squeeze(2)


def mask_cost(logits: Tensor, truth: Tensor) -> Tensor:
    """Mean binary cross-entropy of each query against each truth, (B, Q, N).

    logits: (B, Q, P) at sampled points; truth: (B, N, P) in [0, 1].
    """
    positive = functional.softplus(-logits)
    negative = functional.softplus(logits)
    cost = positive @ truth.transpose(1, 2) + negative @ (1 - truth).transpose(1, 2)
    return cost / logits.shape[-1]


def dice_cost(logits: Tensor, truth: Tensor) -> Tensor:
    """One minus the smoothed dice of each query against each truth, (B, Q, N)."""
    probability = logits.sigmoid()
    overlap = 2 * probability @ truth.transpose(1, 2)
    total = probability.sum(-1)[..., None] + truth.sum(-1)[:, None]
    return 1 - (overlap + 1) / (total + 1)


def project(maps: Tensor) -> Tensor:
    """The greatest value in each row and each column of maps (..., h, w): (..., h + w)."""
    return torch.cat([maps.amax(-1), maps.amax(-2)], dim=-1)


def assign(costs: np.ndarray, is_real: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per image the (queries, truths) of least cost; costs: (B, Q, N), is_real: (B, N) bool."""
    finite = np.nan_to_num(costs, nan=1e4, posinf=1e4, neginf=-1e4)
    pairs = []
    for cost, real in zip(finite, is_real, strict=True):
        truths = np.flatnonzero(real)
        queries, picked = linear_sum_assignment(cost[:, truths])
        pairs.append((queries, truths[picked]))
    return pairs


def to_index(pairs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[Tensor, Tensor, Tensor]:
    """The pairs as three flat int64 index tensors: image, query, truth."""
    images = [np.full(len(queries), image) for image, (queries, _) in enumerate(pairs)]
    stacked = [np.concatenate(part) for part in (images, *zip(*pairs, strict=True))]
    image, query, truth = (torch.from_numpy(part.astype(np.int64)) for part in stacked)
    return image, query, truth
