"""Holds reverse diffusion against hand-worked numbers, its limits and diffusers' schedulers."""

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDPMScheduler
from torch import Tensor

from lightning_modules.equations.diffusion import (
    cosine_betas,
    cumulate_alphas,
    linear_betas,
    remove_noise,
)
from lightning_modules.equations.reverse_diffusion import (
    ancestral_step,
    draw_posterior,
    invert_step,
    posterior_mean,
    posterior_variance,
    reverse_mean,
)

T = 1000
ALPHA_BAR = cumulate_alphas(linear_betas(T, 1e-4, 2e-2))
SCHEDULES = {"linear": ALPHA_BAR, "cosine": cumulate_alphas(cosine_betas(T))}
# Worked by hand below: beta_1 = beta_2 = 0.5, so eq. 4 weighs both ends alike at t = 2.
SHORT = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)
TIMES = [1, 2, 500, T]


def latents(seed: int, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, 4, 4, generator=generator, dtype=torch.float64)


def at(t: int, count: int = 3) -> Tensor:
    return torch.full((count,), t)


def reference(family: type, alpha_bar: Tensor = ALPHA_BAR, **settings: object) -> DDPMScheduler:
    """Diffusers' scheduler on our rates, its tables in float64 as well."""
    scheduler = family(num_train_timesteps=T, clip_sample=False, **settings)
    scheduler.alphas_cumprod = alpha_bar[1:].clone()
    return scheduler


def ddpm_step(scheduler: DDPMScheduler, output: Tensor, z_t: Tensor, t: int) -> Tensor:
    """The library's step, whose noise is latents(2)."""
    generator = torch.Generator().manual_seed(2)
    return scheduler.step(output, t - 1, z_t, generator=generator).prev_sample


def test_posterior_variance_is_zero_at_the_first_step_and_beta_at_the_last() -> None:
    variance = posterior_variance(torch.tensor([1, T]), ALPHA_BAR)
    assert variance[0] == 0
    assert variance[1].item() == pytest.approx(2e-2, rel=1e-4)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("t", TIMES)
def test_draw_of_the_posterior_equals_diffusers(kind: str, t: int) -> None:
    alpha_bar = SCHEDULES[kind]
    scheduler = reference(DDPMScheduler, alpha_bar, prediction_type="sample")
    drawn = draw_posterior(latents(0), latents(1), noise=latents(2), t=at(t), alpha_bar=alpha_bar)
    torch.testing.assert_close(drawn, ddpm_step(scheduler, latents(0), latents(1), t))


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("t", TIMES)
def test_reverse_mean_is_the_posterior_mean_of_the_implied_latent(kind: str, t: int) -> None:
    alpha_bar = SCHEDULES[kind]
    clean = remove_noise(latents(0), latents(1), at(t), alpha_bar)
    mean = reverse_mean(latents(0), latents(1), t=at(t), alpha_bar=alpha_bar)
    expected = posterior_mean(clean, latents(0), t=at(t), alpha_bar=alpha_bar)
    torch.testing.assert_close(mean, expected)


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("t", TIMES)
def test_ancestral_step_equals_diffusers_ddpm(kind: str, t: int) -> None:
    alpha_bar = SCHEDULES[kind]
    scheduler = reference(DDPMScheduler, alpha_bar, variance_type="fixed_small")
    before = ancestral_step(latents(1), latents(0), noise=latents(2), t=at(t), alpha_bar=alpha_bar)
    torch.testing.assert_close(before, ddpm_step(scheduler, latents(0), latents(1), t))


@pytest.mark.parametrize("t", TIMES)
def test_inversion_equals_the_library_s(t: int) -> None:
    z_before, eps = latents(0), latents(1)
    scheduler = reference(DDIMInverseScheduler)
    scheduler.set_timesteps(T)
    expected = scheduler.step(eps, t - 1, z_before).prev_sample
    ours = invert_step(z_before, eps, t=at(t), alpha_bar=ALPHA_BAR)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)
