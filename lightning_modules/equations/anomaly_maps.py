"""Maps of how odd each place of an image is, from feature maps and what good parts look like."""

import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.equations.full_precision import in_full_precision

QUERIES_AT_ONCE = 1024


def neighbourhood_mean(features: Tensor) -> Tensor:
    """Each place's mean over its 3x3 neighbours inside the map, (B, C, h, w) as it came."""
    return functional.avg_pool2d(features, 3, stride=1, padding=1, count_include_pad=False)


def on_finest_grid(maps: list[Tensor]) -> Tensor:
    """All maps (B, C_i, h_i, w_i) brought to the size of the first, (B, sum of C_i, h_0, w_0)."""
    size = maps[0].shape[-2:]
    finest, *others = maps
    raised = [functional.interpolate(one, size, mode="bilinear") for one in others]
    return torch.cat([finest, *raised], dim=1)


@in_full_precision
def nearest_distances(queries: Tensor, bank: Tensor) -> Tensor:
    """Euclidean distance (N,) of each query (N, D) to the nearest vector of the bank (M, D)."""
    squares = bank.square().sum(1)
    nearest = [
        torch.addmm(squares, some, bank.T, alpha=-2).amin(1) + some.square().sum(1)
        for some in queries.split(QUERIES_AT_ONCE)
    ]
    return torch.cat(nearest).clamp_min(0).sqrt()


@in_full_precision
def farthest_points(vectors: Tensor, count: int) -> Tensor:
    """Places (count,) of vectors (N, D) that cover them: from the first, always the farthest next.

    PatchCore's greedy coreset (CVPR 2022, algorithm 1).
    """
    squares = vectors.square().sum(1)
    distances = vectors.new_full((len(vectors),), torch.inf)
    chosen = [0]
    while len(chosen) < count:
        last = vectors[chosen[-1]]
        distances = torch.minimum(distances, squares - 2 * (vectors @ last) + last.square().sum())
        chosen.append(int(distances.argmax()))
    return torch.tensor(chosen)


@in_full_precision
def blurred(maps: Tensor, sigma_px: float) -> Tensor:
    """Maps (B, h, w) under a Gaussian, cut at four sigmas; beyond the rim they are mirrored.

    No padding of a fixed size: two products with matrices take a map smaller than the Gaussian,
    and keep the map's mean. It is scipy's gaussian_filter.
    """
    if not sigma_px:
        return maps
    rows, columns = (gaussian_matrix(length, sigma_px).to(maps) for length in maps.shape[-2:])
    return rows @ maps @ columns.T


def gaussian_matrix(length: int, sigma_px: float) -> Tensor:
    """(length, length) weights: row i holds those of the places that make place i."""
    radius = int(4 * sigma_px + 0.5)
    offsets = torch.arange(-radius, radius + 1)
    weights = torch.exp(-0.5 * (offsets / sigma_px).square())
    places = (torch.arange(length)[:, None] + offsets) % (2 * length)
    places = torch.minimum(places, 2 * length - 1 - places)
    matrix = torch.zeros(length, length)
    return matrix.scatter_add_(1, places, (weights / weights.sum()).expand(length, -1))


def resize_maps(maps: Tensor, side_px: int) -> Tensor:
    """Maps (B, h, w) at another size, bilinear, corners not aligned: (B, side_px, side_px)."""
    size = (side_px, side_px)
    return functional.interpolate(maps[:, None], size, mode="bilinear")[:, 0]


def patch_embedding(maps: list[Tensor], width: int) -> Tensor:
    """Vectors (B, h, w, width) of 3x3 places of all maps, on the first one's grid (SimpleNet).

    maps: (B, C_i, h_i, w_i), zeros beyond their rims. Each place's 9 C_i numbers, channel by
    channel, are averaged down to `width`, and those of all maps, one after the other, once more.
    The means come before the resizing, with which they commute.
    """
    pooled = []
    for features in maps:
        places = functional.unfold(features, 3, padding=1).mT
        short = functional.adaptive_avg_pool1d(places, width).mT
        pooled.append(short.unflatten(2, features.shape[2:]))
    joined = on_finest_grid(pooled).permute(0, 2, 3, 1)
    vectors = functional.adaptive_avg_pool1d(joined.flatten(0, 2), width)
    return vectors.view(*joined.shape[:3], width)


def precision_of(covariance: Tensor, share: float = 0.01) -> Tensor:
    """The inverse (D, D) of a covariance with a share of its mean variance added to each."""
    ridge = share * covariance.diagonal().mean() + 1e-12
    return torch.linalg.inv(covariance + ridge * torch.eye(len(covariance)).to(covariance))


@in_full_precision
def mahalanobis_distances(vectors: Tensor, mean: Tensor, precision: Tensor) -> Tensor:
    """Distances (...) of vectors (..., D) from a mean (D,), by the inverse covariance (D, D)."""
    centred = vectors - mean
    return ((centred @ precision) * centred).sum(-1).clamp_min(0).sqrt()
