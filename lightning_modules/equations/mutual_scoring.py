"""MuSc's three steps, for images that nobody has labelled: what few of the others have is odd.

Li et al., ICLR 2024 (arXiv 2401.16753). The tokens come from `nets/patch_tokens.py`.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

# Of the distances that are held at once.
MOST_DISTANCES = 2**23


def neighbourhood_tokens(maps: Tensor, side: int) -> Tensor:
    """Unit vectors (N, h * w, C), each of a place and its neighbours in a square (section 3.2).

    maps: (N, C, h, w) of one layer; side: of the square, in places, odd. Each image is normalised
    as a whole first. Zeros lie beyond the rim and count.
    """
    maps = functional.layer_norm(maps.float(), maps.shape[1:])
    maps = functional.avg_pool2d(maps, side, stride=1, padding=side // 2)
    return functional.normalize(maps.flatten(2).mT, dim=2)


def mutual_scores(tokens: Tensor, share: float = 0.3) -> Tensor:
    """How far the places (N, L) of each image are from the other images (section 3.3).

    tokens: (N, L, C). Of a place's distances to the nearest place of each other image, the mean of
    the lowest `share` of them. No more than some are held at once, whatever N is. Departs from the
    published code: at least one is taken, where it divides by none for fewer than five images.
    """
    count, places, _ = tokens.shape
    lowest = max(1, math.ceil(round(share * (count - 1), 6)))
    images_at_once = max(1, MOST_DISTANCES // places**2)
    scores = []
    # In 16 bits the difference of the squares would be lost.
    with torch.autocast(tokens.device.type, enabled=False):
        for own, image in enumerate(tokens):
            query = image.float()
            nearest = torch.cat([nearest_of_each(query, o) for o in tokens.split(images_at_once)])
            others = torch.cat([nearest[:own], nearest[own + 1 :]])
            squares = (others + query.square().sum(1)).clamp_min(0)
            scores.append(squares.topk(lowest, dim=0, largest=False).values.sqrt().mean(0))
    return torch.stack(scores)


def nearest_of_each(query: Tensor, others: Tensor) -> Tensor:
    """Squared distances (J, L) of tokens (L, C) to the nearest of each image's (J, L, C).

    Without the query's own square, which is the same for all.
    """
    flat = others.flatten(0, 1).float()
    products = torch.addmm(flat.square().sum(1), query, flat.T, alpha=-2)
    return products.unflatten(1, others.shape[:2]).amin(2).T


def smoothed_by_likeness(scores: Tensor, vectors: Tensor, counts: Sequence[int]) -> Tensor:
    """Scores (N,) of images, each weighed with those of the images most like it (section 3.4).

    vectors: (N, D) of whole images; counts: how many are weighed, the image itself among them, by
    the cosine; the mean over the counts is taken. Departs from the published code: scores are not
    brought to [0, 1] by the highest and the lowest, which changes no order, since weights of an
    image sum to one, but would give a score another meaning in each set of images.
    """
    units = functional.normalize(vectors.float(), dim=1)
    likeness = units @ units.T
    likeness.fill_diagonal_(1.0)
    found = []
    for count in counts:
        weights, places = likeness.topk(min(count, len(scores)), dim=1)
        found.append((weights * scores[places]).sum(1) / weights.sum(1))
    return torch.stack(found).mean(0)
