"""What the processes of a training know together; a process that is alone knows its own.

Each reduction is asked by all processes at the same place, with tensors of one shape.
"""

from typing import Any

import torch
from torch import Tensor, distributed


def rank_count() -> int:
    """The number of processes that train together."""
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


def mean_over_ranks(totals: Tensor) -> Tensor:
    """What each process divides its sums by, so that the mean of theirs is the whole batch's."""
    totals = totals.clone()
    if rank_count() > 1:
        distributed.all_reduce(totals)
    return totals.clamp(min=1e-6) / rank_count()


def gather(values: Tensor) -> Tensor:
    """All processes' values (B, ...) one below the other, with gradient to each of them."""
    return _Gather.apply(values) if rank_count() > 1 else values  # type: ignore[no-any-return]


def own_rows(row_count: int) -> slice:
    """Where this process's `row_count` rows are among those of `gather`."""
    first = distributed.get_rank() * row_count if rank_count() > 1 else 0
    return slice(first, first + row_count)


class _Gather(torch.autograd.Function):
    """Each process's loss depends on all rows: their gradients add up where the row came from."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """The rows of all processes."""
        parts = [torch.empty_like(values) for _ in range(rank_count())]
        distributed.all_gather(parts, values.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        """The gradient of this process's rows, from the losses of all."""
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        return gradient[own_rows(len(gradient) // rank_count())]
