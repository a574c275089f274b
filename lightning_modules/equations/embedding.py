"""Fixed embeddings as pure functions: the sinusoid of eq. 17."""

import math

import torch
from torch import Tensor


def embed_positions(positions: Tensor, width: int) -> Tensor:
    """Sine and cosine of each position at geometric frequencies, (N, width) (eq. 17).

    Departs from the paper: the exponent runs over pairs (0..width/2), as in the source of the
    formula, because the printed one repeats a frequency for neighbours.
    """
    half = width // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, device=positions.device) / half)
    angles = positions.float()[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
