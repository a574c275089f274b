"""Equations whose small differences 16 bits would lose."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import Tensor


def in_full_precision(equation: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The equation, of 16-bit tensors and under autocast too in 32 bits; a tensor comes first."""

    @wraps(equation)
    def compute(first: Tensor, *others: Any, **settings: Any) -> Tensor:
        with torch.autocast(first.device.type, enabled=False):
            return equation(raised(first), *map(raised, others), **settings)

    return compute


def raised(value: Any) -> Any:
    """A tensor of 16 bits in 32, all else as it came."""
    is_short = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if is_short else value
