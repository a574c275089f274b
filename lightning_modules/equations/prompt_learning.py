"""PromptAD's losses and scores: what CLIP sees of good parts, between words for good and for odd.

Li et al., CVPR 2024 (arXiv 2404.05231). Where the texts' vectors come from is in
`nets/learned_prompts.py`. All vectors of images and places are of length one.
"""

import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.equations.anomaly_maps import nearest_distances


def prototypes(good: Tensor, odd: Tensor) -> Tensor:
    """Unit vectors (2, D) of the mean of texts for good, (P, D), and of those for odd, (N, D)."""
    return functional.normalize(torch.stack([good.mean(0), odd.mean(0)]), dim=1)


def contrast_loss(vectors: Tensor, good: Tensor, odd: Tensor, scale: Tensor) -> Tensor:
    """Cross-entropy of vectors (N, D) that have to find the prototype for good among odd texts.

    good: (D,) of length one; odd: (M, D) of any; scale: of the cosines.
    """
    texts = torch.cat([good[None], functional.normalize(odd, dim=1)])
    logits = scale * vectors @ texts.T
    return (logits.logsumexp(1) - logits[:, 0]).mean()


def margin_loss(vectors: Tensor, good: Tensor, odd: Tensor) -> Tensor:
    """The explicit anomaly margin, of 0: how much nearer vectors (N, D) are to odd than to good.

    good, odd: (D,) prototypes; distances are squared. Departs from the published code, which sums
    the squares of places over the places instead of over D.
    """
    to_good, to_odd = ((vectors - one).square().sum(1) for one in (good, odd))
    return functional.relu(to_good - to_odd).mean()


def alignment_loss(handmade: Tensor, learned: Tensor) -> Tensor:
    """Squared distance of the mean directions of handmade (M, D) and learned (A, D) odd texts."""
    means = (functional.normalize(one, dim=1).mean(0) for one in (handmade, learned))
    return (next(means) - next(means)).square().sum()


def odd_share(vectors: Tensor, texts: Tensor, scale: Tensor) -> Tensor:
    """The share (...) of the prototype for odd in vectors (..., D), of both (2, D); in [0, 1]."""
    return (scale * vectors @ texts.T).softmax(-1)[..., 1]


def gallery_distances(places: Tensor, gallery: Tensor) -> Tensor:
    """(1 - cosine) / 2 of unit vectors (B, L, C) and the nearest of the gallery (M, C), (B, L)."""
    distances = nearest_distances(places.flatten(0, 1), gallery)
    return distances.square().unflatten(0, places.shape[:2]) / 4


def harmonic(one: Tensor, other: Tensor) -> Tensor:
    """1 / (1 / a + 1 / b) of scores in [0, 1] of one shape: under the smaller; 0 where one is 0."""
    return one * other / (one + other).clamp_min(torch.finfo(one.dtype).tiny)
