"""Reverse diffusion as pure functions: from noise towards clean latents (eq. 3-5 and 7).

Time and `alpha_bar` as in `diffusion.py`, which holds the way forth. sigma_t, which the paper
leaves open, is the true posterior's: the square root of beta-tilde_t.
"""

from torch import Tensor

from lightning_modules.equations.diffusion import add_noise, per_latent, remove_noise


def posterior_variance(t: Tensor, alpha_bar: Tensor) -> Tensor:
    """beta-tilde_t, (B,): the variance that is left at t - 1 when both ends are known (of eq. 3).

    t: (B,) int64 in 1..T; alpha_bar: (T + 1,). Zero at t = 1.
    """
    level, level_before = alpha_bar[t], alpha_bar[t - 1]
    return (1 - level / level_before) * (1 - level_before) / (1 - level)


def posterior_mean(z_0: Tensor, z_t: Tensor, *, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """The mean latent at t - 1 when both ends are known (eq. 4).

    z_0, z_t: (B, c, h, w); t: (B,) int64 in 1..T; alpha_bar: (T + 1,).
    """
    level, level_before = alpha_bar[t], alpha_bar[t - 1]
    alpha = level / level_before
    of_clean = level_before.sqrt() * (1 - alpha) / (1 - level)
    of_noised = alpha.sqrt() * (1 - level_before) / (1 - level)
    return per_latent(of_clean, z_0) * z_0 + per_latent(of_noised, z_t) * z_t


def draw_posterior(
    z_0: Tensor, z_t: Tensor, *, noise: Tensor, t: Tensor, alpha_bar: Tensor
) -> Tensor:
    """A draw of the latent at t - 1 when both ends are known (eq. 3).

    z_0, z_t, noise: (B, c, h, w), noise standard normal; t: (B,) int64 in 1..T.
    """
    sigma = per_latent(posterior_variance(t, alpha_bar).sqrt(), noise)
    return posterior_mean(z_0, z_t, t=t, alpha_bar=alpha_bar) + sigma * noise


def reverse_mean(z_t: Tensor, eps: Tensor, *, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """The mean latent at t - 1 that a noise estimate implies (eq. 5).

    z_t, eps: (B, c, h, w); t: (B,) int64 in 1..T; alpha_bar: (T + 1,).
    """
    alpha = alpha_bar[t] / alpha_bar[t - 1]
    share = (1 - alpha) / (1 - alpha_bar[t]).sqrt()
    return (z_t - per_latent(share, eps) * eps) / per_latent(alpha.sqrt(), z_t)


def ancestral_step(
    z_t: Tensor, eps: Tensor, *, noise: Tensor, t: Tensor, alpha_bar: Tensor
) -> Tensor:
    """A draw of the latent at t - 1 from a noise estimate (eq. 7).

    z_t, eps, noise: (B, c, h, w), noise standard normal; t: (B,) int64 in 1..T. Nothing of
    `noise` is added at t = 1, where sigma is zero.
    """
    sigma = per_latent(posterior_variance(t, alpha_bar).sqrt(), noise)
    return reverse_mean(z_t, eps, t=t, alpha_bar=alpha_bar) + sigma * noise


def invert_step(z_before: Tensor, eps: Tensor, *, t: Tensor, alpha_bar: Tensor) -> Tensor:
    """Latents of step t from those of t - 1 without chance: DDIM's step back, turned round.

    z_before, eps: (B, c, h, w), eps estimated from z_before as if that were of step t already;
    t: (B,) int64 in 1..T; alpha_bar: (T + 1,).
    """
    clean = remove_noise(z_before, eps, t - 1, alpha_bar)
    return add_noise(clean, eps, t, alpha_bar)
