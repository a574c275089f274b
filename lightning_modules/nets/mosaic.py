"""Images of a batch joined to new ones with their boxes: mosaics of four, and two laid over.

Mosaic as in YOLOv4 (arXiv 2004.10934), mixup (1710.09412) at equal shares, which leaves each of
the boxes its full weight.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from lightning_modules.equations.box_losses import Truth

# The share of its area by which a box that a seam cuts stays a truth.
LEAST_LEFT = 0.1


def mosaic(
    images: Tensor, truths: Sequence[Truth], probability: float, rng: np.random.Generator
) -> tuple[Tensor, list[Truth]]:
    """Images (B, 3, s, s), each with `probability` one of four parts around a seam anywhere.

    The other three are drawn from the batch; of each shows what lies next to the seam.
    """
    joined, found = images.clone(), list(truths)
    side = images.shape[-1]
    for index in np.flatnonzero(rng.random(len(images)) < probability):
        x, y = (int(place) for place in rng.integers(0, side + 1, 2))
        members = [index, *rng.integers(0, len(images), 3)]
        corners = [(right, below) for right in (x - side, x) for below in (y - side, y)]
        parts = []
        for member, (right, below) in zip(rng.permutation(members), corners, strict=True):
            window = (max(right, 0), max(below, 0), min(right, 0) + side, min(below, 0) + side)
            left, top, end, bottom = window
            source = images[member, :, top - below : bottom - below, left - right : end - right]
            joined[index, :, top:bottom, left:end] = source
            parts.append(seen_through(truths[member], window, (right, below)))
        found[index] = together(parts)
    return joined, found


def seen_through(truth: Truth, window: tuple[int, int, int, int], shift: tuple[int, int]) -> Truth:
    """The truth moved by (x, y), cut to a window (left, top, right, bottom), slivers left out."""
    moved = truth.boxes + truth.boxes.new_tensor(shift * 2)
    start, end = moved.new_tensor(window).split(2)
    cut = torch.cat([one.clamp(start, end) for one in moved.split(2, dim=1)], dim=1)
    whole, left = ((one[:, 2:] - one[:, :2]).prod(1) for one in (moved, cut))
    stays = left > LEAST_LEFT * whole
    return Truth(cut[stays], truth.class_ids[stays])


def mixup(
    images: Tensor, truths: Sequence[Truth], probability: float, rng: np.random.Generator
) -> tuple[Tensor, list[Truth]]:
    """Images (B, 3, s, s), each with `probability` the mean of itself and another of the batch."""
    mixed, found = images.clone(), list(truths)
    for index in np.flatnonzero(rng.random(len(images)) < probability).tolist():
        other = int(rng.integers(0, len(images)))
        mixed[index] = (images[index] + images[other]) / 2
        found[index] = together([truths[index], truths[other]])
    return mixed, found


def together(truths: Sequence[Truth]) -> Truth:
    """All boxes of several truths as those of one image."""
    return Truth(
        torch.cat([one.boxes for one in truths]), torch.cat([one.class_ids for one in truths])
    )
