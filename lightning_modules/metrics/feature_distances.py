"""Distances between features: how varied a set is, and who is nearest in another set.

The distance is 1 - cosine: 0 for features of one direction, 1 for unrelated ones, at most 2.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

QUERY_BLOCK = 1024
REFERENCE_BLOCK = 16_384


def mean_pairwise_distance(features: Tensor, origins: Tensor) -> tuple[float, int]:
    """Mean distance over all pairs of different origin, and the number of such pairs.

    features: (N, D); origins: (N,) int, equal for views of one picture, whose likeness says
    nothing. NaN without a pair. From sums alone: no matrix of pairs is made.
    """
    unit = F.normalize(features.double(), dim=1)
    _, owner, sizes = origins.unique(return_inverse=True, return_counts=True)
    sums = torch.zeros(len(sizes), unit.shape[1], dtype=torch.float64)
    sums.index_add_(0, owner, unit)
    similarity = sums.sum(0).square().sum() - sums.square().sum()
    pairs = len(unit) ** 2 - int(sizes.square().sum())
    if pairs == 0:
        return float("nan"), 0
    return float(1 - similarity / pairs), pairs // 2


def nearest_neighbours(
    queries: Tensor, references: Tensor, *, kept: int = 1
) -> tuple[Tensor, Tensor]:
    """Of each query (N, D) its nearest of references (M, D): distances and indices, both (N, kept).

    Best first; at most M are kept. Beside the features themselves the memory is constant.
    """
    kept = min(kept, len(references))
    found = [_nearest_of(block, references, kept) for block in queries.split(QUERY_BLOCK)]
    return torch.cat([one[0] for one in found]), torch.cat([one[1] for one in found])


def _nearest_of(queries: Tensor, references: Tensor, kept: int) -> tuple[Tensor, Tensor]:
    unit = F.normalize(queries.float(), dim=1)
    similarity = torch.empty(len(queries), 0)
    index = torch.empty(len(queries), 0, dtype=torch.int64)
    for start in range(0, len(references), REFERENCE_BLOCK):
        block = F.normalize(references[start : start + REFERENCE_BLOCK].float(), dim=1)
        alike, place = (unit @ block.T).topk(min(kept, len(block)), dim=1)
        similarity = torch.cat([similarity, alike], dim=1)
        index = torch.cat([index, place + start], dim=1)
        similarity, order = similarity.topk(min(kept, similarity.shape[1]), dim=1)
        index = index.gather(1, order)
    return (1 - similarity).clamp(min=0), index
