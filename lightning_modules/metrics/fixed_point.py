"""Shares in [0, 1] as whole numbers, whose sum is the same in whatever order they are added.

A sum of floats is not: two processes would differ from one in the last digits.
"""

import torch
from torch import Tensor

# Of a share of one. An int64 then holds the sum of two thousand million shares.
UNITS = 2**32


def to_units(shares: Tensor) -> Tensor:
    """The nearest int64 numbers of units."""
    return (shares.double() * UNITS).round().to(torch.int64)


def from_units(units: Tensor) -> Tensor:
    """What sums of units stand for, float64."""
    return units.double() / UNITS
