"""How far a student's feature maps are from its teacher's, and the few codes between."""

import torch
from torch import Tensor
from torch.nn import functional


def distillation_loss(taught: list[Tensor], recalled: list[Tensor]) -> Tensor:
    """One minus the cosine of whole maps (B, C_i, h_i, w_i), their mean over images, summed."""
    pairs = zip(taught, recalled, strict=True)
    cosines = [
        functional.cosine_similarity(one.flatten(1), other.flatten(1)).mean()
        for one, other in pairs
    ]
    return (1 - torch.stack(cosines)).sum()


def distillation_map(taught: list[Tensor], recalled: list[Tensor], side_px: int) -> Tensor:
    """One minus the cosine of each place, (B, 1, side_px, side_px), all maps added up.

    taught, recalled: (B, C_i, h_i, w_i), resized bilinearly with corners aligned.
    """
    size, pairs = (side_px, side_px), zip(taught, recalled, strict=True)
    maps = [
        functional.interpolate(
            1 - functional.cosine_similarity(one, other)[:, None],
            size,
            mode="bilinear",
            align_corners=True,
        )
        for one, other in pairs
    ]
    return torch.stack(maps).sum(0)


def quantise(vectors: Tensor, codes: Tensor, commitment: float = 0.25) -> tuple[Tensor, Tensor]:
    """The nearest code of each vector (N, D), and the loss that brings the two together.

    codes: (K, D). The gradient goes past the choice to the vectors as if it had not been made. The
    loss moves codes to vectors and, `commitment` times as much, vectors to codes (van den Oord et
    al. 2017).
    """
    with torch.no_grad():
        squares = codes.square().sum(1)
        chosen = torch.addmm(squares, vectors, codes.T, alpha=-2).argmin(1)
    nearest = codes[chosen]
    loss = functional.mse_loss(nearest, vectors.detach())
    loss = loss + commitment * functional.mse_loss(vectors, nearest.detach())
    return vectors + (nearest - vectors).detach(), loss
