"""L_ground: images and captions find each other by what queries say of phrases (main paper).

S sets, I images, J captions, P phrases each, Q queries. Where phrases and other processes' parts
come from is in `supervision.py`.
"""

import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.equations.mask_losses import UNKNOWN


def unsaid(ids: Tensor, others: Tensor) -> Tensor:
    """Which phrases of other captions (J, P) the own ones (I, P) don't say, (I, J, P) bool."""
    return (ids[:, None, :, None] != others[None, :, None, :]).all(2)


def phrase_scores(similarity: Tensor) -> Tensor:
    """How well some query of an image matches each phrase, (S, I, J, P).

    similarity: (S, I, Q, J, P). sum_q softmax_q(s) s: a soft maximum over the queries.
    """
    return (similarity.softmax(2) * similarity).sum(2)


def pair_scores(scores: Tensor, counted: Tensor) -> Tensor:
    """S(i, j), (S, I, J): the mean score (S, I, J, P) of the phrases that are counted (I, J, P)."""
    return (scores * counted).sum(-1) / counted.sum(-1).clamp(min=1)


def grounding_loss(pairs: Tensor, is_rival: Tensor, is_told: Tensor) -> Tensor:
    """Cross-entropy of images to captions and of captions to images, half each.

    pairs: (S, J, J) scores of each image with each caption, its own on the diagonal; is_rival:
    (J, J) bool, where a caption is wrong for an image; is_told: (J,) bool, whether a caption says
    anything. Summed over sets, the mean of the images that are told of.
    """
    own = torch.arange(len(is_told), device=pairs.device)
    blocked = ~is_rival & (own[:, None] != own)
    scores = pairs.masked_fill(blocked, -torch.inf)
    wanted = torch.where(is_told, own, UNKNOWN).expand(len(pairs), -1).flatten()
    losses = [
        functional.cross_entropy(each.flatten(0, 1), wanted, ignore_index=UNKNOWN, reduction="sum")
        for each in (scores, scores.transpose(1, 2))
    ]
    return (losses[0] + losses[1]) / (2 * is_told.sum().clamp(min=1))
