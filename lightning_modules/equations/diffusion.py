"""Forward and reverse diffusion as pure functions: tensors in, tensors out (eq. 1-7, 11-12).

Time runs 1..T as in the paper: `alpha_bar` has T + 1 entries and `alpha_bar[0] = 1`, so index 0
is the clean latent. Nothing here draws random numbers or knows a network.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def linear_betas(steps: int, beta_start: float, beta_end: float) -> Tensor:
    """Noise rates beta_1..beta_T on a straight line, (T,) float64 (section 4.1.1)."""
    return torch.linspace(beta_start, beta_end, steps, dtype=torch.float64)


def cosine_betas(steps: int, offset: float = 0.008) -> Tensor:
    """Noise rates of the cosine schedule, (T,) float64, at most 0.999 (section 4.1.1)."""
    time = torch.arange(steps + 1, dtype=torch.float64) / steps
    level = torch.cos((time + offset) / (1 + offset) * math.pi / 2) ** 2
    return (1 - level[1:] / level[:-1]).clamp(max=0.999)


def cumulate_alphas(betas: Tensor) -> Tensor:
    """alpha_bar with T + 1 entries, the first of them 1 (section 4.1.1)."""
    return torch.cat([betas.new_ones(1), torch.cumprod(1 - betas, dim=0)])


def add_noise(z_0: Tensor, eps: Tensor, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """Latents noised to step t in one go (eq. 2).

    z_0, eps: (B, c, h, w); t: (B,) int64 in 0..T; alpha_bar: (T + 1,).
    """
    level = alpha_bar[t].to(z_0.dtype).view(-1, 1, 1, 1)
    return level.sqrt() * z_0 + (1 - level).sqrt() * eps


def remove_noise(z_t: Tensor, eps: Tensor, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """The clean latent that eps implies, the inverse of eq. 2; t: (B,) in 0..T."""
    level = alpha_bar[t].to(z_t.dtype).view(-1, 1, 1, 1)
    return (z_t - (1 - level).sqrt() * eps) / level.sqrt()


def step_back(
    z_t: Tensor,
    eps: Tensor,
    noise: Tensor,
    *,
    t: int,
    previous: int,
    alpha_bar: Tensor,
    limit: float = math.inf,
) -> Tensor:
    """A draw of the latent at the earlier step `previous` (eq. 3-5 and 7).

    z_t, eps, noise: (B, c, h, w), noise standard normal. Departs from the paper: the step may skip
    times, and the clean latent is held within +-limit, because near t = T a small error of eps is
    divided by sqrt(alpha_bar) = 0.006.
    """
    times = torch.full((z_t.shape[0],), t, device=z_t.device)
    clean = remove_noise(z_t, eps, times, alpha_bar).clamp(-limit, limit)
    level, level_before = alpha_bar[t], alpha_bar[previous]
    kept = level / level_before
    mean = level_before.sqrt() * (1 - kept) / (1 - level) * clean
    mean = mean + kept.sqrt() * (1 - level_before) / (1 - level) * z_t
    variance = (1 - kept) * (1 - level_before) / (1 - level)
    return mean + variance.sqrt() * noise


def noise_loss(eps_predicted: Tensor, eps: Tensor) -> Tensor:
    """Mean squared error between predicted and true noise, a scalar (eq. 6 and 12)."""
    return functional.mse_loss(eps_predicted.float(), eps.float())
