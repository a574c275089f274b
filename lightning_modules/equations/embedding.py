"""Fixed embeddings as pure functions: sinusoids of time and of place (eq. 17)."""

import math

import torch
from torch import Tensor


def embed_time(t: Tensor, width: int = 256) -> Tensor:
    """Sine and cosine of each time by turns, letter for letter, (B, width) float32 (eq. 17).

    t: (B,) in 0..T. As printed, the exponent doubles a column's number that already counts both
    of a pair, so rates fall to 10,000^-2: over T = 1000, half of the columns hardly move.
    """
    column = torch.arange(width, device=t.device)
    is_odd = column % 2 == 1
    exponent = 2 * (column - is_odd.long()) / width
    angles = t.float()[:, None] * torch.exp(-math.log(10_000) * exponent)
    return torch.where(is_odd, angles.cos(), angles.sin())


def embed_positions(positions: Tensor, width: int) -> Tensor:
    """Sines, then cosines of each position at geometric rates, (N, width) float32 (of eq. 17).

    Departs from the paper: the exponent counts pairs of columns, as in the source of the formula,
    so rates fall to 10,000^-1 and all columns move. Raises ValueError for an odd width.
    """
    if width % 2:
        raise ValueError(f"embedding width is {width}: expected an even number, one pair per rate")
    half = width // 2
    rates = torch.exp(-math.log(10_000) * torch.arange(half, device=positions.device) / half)
    angles = positions.float()[:, None] * rates[None]
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
