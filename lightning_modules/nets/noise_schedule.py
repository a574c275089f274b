"""The noise schedule as a buffer: alpha_bar over times 0..T (section 4.1.1, Table 2)."""

import torch
from torch import Tensor, nn

from lightning_modules.equations.diffusion import cosine_betas, cumulate_alphas, linear_betas


class NoiseSchedule(nn.Module):
    """alpha_bar for T diffusion steps; `kind` is `linear` (Table 2) or `cosine`.

    Raises ValueError for another kind.
    """

    alpha_bar: Tensor

    def __init__(
        self,
        diffusion_steps: int = 1000,
        kind: str = "linear",
        beta_start: float = 1e-4,
        beta_end: float = 2e-2,
    ) -> None:
        super().__init__()
        if kind not in ("linear", "cosine"):
            raise ValueError(f"noise schedule is {kind!r}: expected linear or cosine")
        linear = kind == "linear"
        betas = (
            linear_betas(diffusion_steps, beta_start, beta_end)
            if linear
            else cosine_betas(diffusion_steps)
        )
        self.diffusion_steps = diffusion_steps
        alpha_bar = cumulate_alphas(betas).to(torch.float32)
        self.register_buffer("alpha_bar", alpha_bar, persistent=False)
