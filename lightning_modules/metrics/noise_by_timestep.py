"""Where on the way from image to noise the denoiser errs: its loss by bins of time.

The loss itself is in `equations/diffusion.py`; the mean over all times hides that late steps are
easy and early ones hard.
"""

import torch
from torch import Tensor
from torchmetrics import Metric


class NoiseLossByTimestep(Metric):
    """Mean noise loss over equal bins of the times 1..T, and over all samples.

    `ranges`: first and last time of each bin. A bin that saw no sample is NaN.
    """

    full_state_update = False
    last_times: Tensor
    loss_sum: Tensor
    sample_count: Tensor

    def __init__(self, diffusion_steps: int, bins: int = 10) -> None:
        """diffusion_steps: T; bins: how many, fewer where T is smaller."""
        super().__init__()
        bins = min(bins, diffusion_steps)
        edges = [number * diffusion_steps // bins for number in range(bins + 1)]
        self.ranges = [(edges[number] + 1, edges[number + 1]) for number in range(bins)]
        self.register_buffer("last_times", torch.tensor(edges[1:]), persistent=False)
        self.add_state("loss_sum", torch.zeros(bins), dist_reduce_fx="sum")
        self.add_state("sample_count", torch.zeros(bins, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, losses: Tensor, t: Tensor) -> None:
        """Adds the losses (B,) of samples noised to t (B,) int64 in 1..T."""
        number = torch.bucketize(t.to(self.last_times), self.last_times)
        self.loss_sum.index_add_(0, number, losses.detach().to(self.loss_sum))
        self.sample_count.index_add_(0, number, torch.ones_like(number))

    def compute(self) -> dict[str, Tensor]:
        """`loss_diff` over all samples and `loss_diff_t0001_0100` and so on over bins; scalars."""
        mean = self.loss_sum / self.sample_count
        figures = {"loss_diff": self.loss_sum.sum() / self.sample_count.sum()}
        for (first, last), loss in zip(self.ranges, mean, strict=True):
            figures[f"loss_diff_t{first:04d}_{last:04d}"] = loss
        return figures
