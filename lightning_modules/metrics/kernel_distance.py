"""KID: the squared maximum mean discrepancy of two sets of features (Binkowski et al. 2018).

Unlike FID it is not biased by the number of pictures, which are few in industry. It needs the
features themselves, (N, D) of either side.
"""

import torch
from torch import Tensor


def kernel_distance(
    real: Tensor, generated: Tensor, *, subset_size: int = 1000, subsets: int = 100, seed: int = 0
) -> tuple[float, float]:
    """Mean and deviation of the unbiased estimate over random subsets; may fall below zero.

    real: (N, D), generated: (M, D) features; subset_size: of either set, at most all of it. NaN
    with fewer than two pictures in one of them.
    """
    size = min(subset_size, len(real), len(generated))
    if size < 2:
        return float("nan"), float("nan")
    random = torch.Generator().manual_seed(seed)
    estimates = []
    for _ in range(subsets):
        first = real[torch.randperm(len(real), generator=random)[:size]]
        second = generated[torch.randperm(len(generated), generator=random)[:size]]
        estimates.append(squared_discrepancy(first.double(), second.double()))
    values = torch.stack(estimates)
    return float(values.mean()), float(values.std(correction=0))


def squared_discrepancy(first: Tensor, second: Tensor) -> Tensor:
    """Unbiased estimate of MMD^2 with the kernel (x.y / D + 1)^3, of (N, D) and (M, D) features."""
    within = sum(_mean_off_diagonal(polynomial_kernel(side, side)) for side in (first, second))
    return within - 2 * polynomial_kernel(first, second).mean()


def polynomial_kernel(first: Tensor, second: Tensor) -> Tensor:
    """(x.y / D + 1)^3 of every row x (N, D) and y (M, D): (N, M)."""
    return (first @ second.T / first.shape[1] + 1) ** 3


def _mean_off_diagonal(kernel: Tensor) -> Tensor:
    count = len(kernel)
    return (kernel.sum() - kernel.trace()) / (count * (count - 1))
