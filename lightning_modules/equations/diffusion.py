"""Noise rates, forward diffusion and its loss as pure functions (eq. 1, 2, 6 and 12).

Time runs 1..T as in the paper: `alpha_bar` has T + 1 entries and `alpha_bar[0] = 1`, so index 0
is the clean latent. Nothing here draws random numbers or knows a network. The way back is in
`reverse_diffusion.py`.
"""

import math

import torch
from torch import Tensor
from torch.nn import functional


def linear_betas(steps: int, beta_start: float, beta_end: float) -> Tensor:
    """Noise rates beta_1..beta_T on a straight line, (T,) float64 (section 4.1.1)."""
    return torch.linspace(beta_start, beta_end, steps, dtype=torch.float64)


def cosine_betas(steps: int, offset: float = 0.008) -> Tensor:
    """Noise rates of the cosine schedule, (T,) float64, at most 0.999 (section 4.1.1).

    Departs from the paper: the last rate is 0.999 and not 1, because eq. 5 divides by
    sqrt(1 - beta_T).
    """
    time = torch.arange(steps + 1, dtype=torch.float64) / steps
    level = torch.cos((time + offset) / (1 + offset) * math.pi / 2) ** 2
    return (1 - level[1:] / level[:-1]).clamp(max=0.999)


def cumulate_alphas(betas: Tensor) -> Tensor:
    """alpha_bar with T + 1 entries, the first of them 1 (section 4.1.1)."""
    return torch.cat([betas.new_ones(1), torch.cumprod(1 - betas, dim=0)])


def per_latent(coefficient: Tensor, z: Tensor) -> Tensor:
    """A number per sample (B,), shaped and typed to multiply latents z (B, c, h, w).

    To be called on finished coefficients: alpha_bar itself in half precision is 1 at the first
    steps, and its rest, the noise, would be gone.
    """
    return coefficient.to(z.dtype).view(-1, 1, 1, 1)


def step_forward(z_before: Tensor, eps: Tensor, *, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """Latents of step t from those of step t - 1, noised once (eq. 1).

    z_before, eps: (B, c, h, w); t: (B,) int64 in 1..T; alpha_bar: (T + 1,).
    """
    alpha = alpha_bar[t] / alpha_bar[t - 1]
    return per_latent(alpha.sqrt(), z_before) * z_before + per_latent((1 - alpha).sqrt(), eps) * eps


def add_noise(z_0: Tensor, eps: Tensor, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """Latents noised to step t in one go (eq. 2).

    z_0, eps: (B, c, h, w); t: (B,) int64 in 0..T; alpha_bar: (T + 1,).
    """
    level = alpha_bar[t]
    return per_latent(level.sqrt(), z_0) * z_0 + per_latent((1 - level).sqrt(), eps) * eps


def remove_noise(z_t: Tensor, eps: Tensor, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """The clean latent that eps implies, the inverse of eq. 2; t: (B,) in 0..T."""
    level = alpha_bar[t]
    return (z_t - per_latent((1 - level).sqrt(), eps) * eps) / per_latent(level.sqrt(), z_t)


def noise_loss_by_sample(eps_predicted: Tensor, eps: Tensor) -> Tensor:
    """Mean squared error between predicted and true noise of each sample, (B,) float32."""
    return (eps_predicted.float() - eps.float()).square().flatten(1).mean(1)


def noise_loss(eps_predicted: Tensor, eps: Tensor) -> Tensor:
    """Mean squared error between predicted and true noise, a float32 scalar (eq. 6 and 12).

    Departs from the paper: a mean where it prints the sum over the latent, a constant factor,
    because the learning rate of Table 2 would depend on the latent's size.
    """
    return functional.mse_loss(eps_predicted.float(), eps.float())
