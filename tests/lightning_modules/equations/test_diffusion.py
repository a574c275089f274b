"""Holds noise rates, forward diffusion and its loss against hand-worked numbers and diffusers."""

import math

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

from lightning_modules.equations.diffusion import (
    add_noise,
    cosine_betas,
    cumulate_alphas,
    linear_betas,
    noise_loss,
    noise_loss_by_sample,
    remove_noise,
    step_forward,
)

T = 1000
ALPHA_BAR = cumulate_alphas(linear_betas(T, 1e-4, 2e-2))
PAPER = {"num_train_timesteps": T, "beta_start": 1e-4, "beta_end": 2e-2, "beta_schedule": "linear"}
# Worked by hand below: beta_1 = 0.64, beta_2 = 0.75.
SHORT = torch.tensor([1.0, 0.36, 0.09], dtype=torch.float64)


def latents(seed: int, count: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, 4, 4, generator=generator, dtype=torch.float64)


def pixel(value: float) -> Tensor:
    return torch.full((1, 1, 1, 1), value, dtype=torch.float64)


def at(t: int, count: int = 3) -> Tensor:
    return torch.full((count,), t)


@pytest.mark.parametrize("t", [1, 2, 500, T - 1])
def test_cosine_schedule_is_the_papers_ratio(t: int) -> None:
    offset, start = 0.008, math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    level = math.cos((t / T + offset) / (1 + offset) * math.pi / 2) ** 2 / start
    assert cumulate_alphas(cosine_betas(T))[t].item() == pytest.approx(level, rel=1e-9)


@pytest.mark.parametrize("kind", ["linear", "squaredcos_cap_v2"])
def test_alpha_bar_equals_diffusers_whose_time_starts_at_zero(kind: str) -> None:
    reference = DDPMScheduler(**(PAPER | {"beta_schedule": kind})).alphas_cumprod.double()
    alpha_bar = ALPHA_BAR if kind == "linear" else cumulate_alphas(cosine_betas(T))
    torch.testing.assert_close(alpha_bar[1:], reference, rtol=1e-5, atol=1e-6)


def test_one_step_forward_by_hand() -> None:
    noised = step_forward(pixel(2.0), pixel(-1.0), t=at(2, 1), alpha_bar=SHORT)
    assert noised.item() == pytest.approx(0.5 * 2 - math.sqrt(0.75))


def test_chain_of_single_steps_has_the_moments_of_noising_in_one_go() -> None:
    # Sample s of the chain meets noise at step s alone, the last sample the clean latent alone:
    # what is left of each at T is its weight in z_T, and independent noises add in squares.
    z = torch.zeros(T + 1, 1, 1, 1, dtype=torch.float64)
    z[T] = 1
    for step in range(1, T + 1):
        eps = torch.zeros_like(z)
        eps[step - 1] = 1
        z = step_forward(z, eps, t=at(step, T + 1), alpha_bar=ALPHA_BAR)
    assert z[T].item() == pytest.approx(ALPHA_BAR[T].sqrt().item(), rel=1e-9)
    assert z[:T].square().sum().item() == pytest.approx(1 - ALPHA_BAR[T].item(), rel=1e-9)


@pytest.mark.parametrize("scheduler", [DDPMScheduler, DDIMScheduler])
@pytest.mark.parametrize("t", [1, 2, 50, 500, T])
def test_noise_equals_diffusers_whose_time_starts_at_zero(scheduler: type, t: int) -> None:
    expected = scheduler(**PAPER).add_noise(latents(0), latents(1), at(t - 1))
    noised = add_noise(latents(0), latents(1), at(t), ALPHA_BAR)
    torch.testing.assert_close(noised, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("t", [0, 1, 50, 500, T])
def test_true_noise_gives_the_latent_back(t: int) -> None:
    noised = add_noise(latents(0), latents(1), at(t), ALPHA_BAR)
    torch.testing.assert_close(remove_noise(noised, latents(1), at(t), ALPHA_BAR), latents(0))


def test_noise_loss_is_taken_in_float32() -> None:
    assert noise_loss(latents(0).half(), latents(1).half()).dtype == torch.float32
    assert noise_loss_by_sample(latents(0).half(), latents(1).half()).dtype == torch.float32


def test_noise_loss_by_sample_is_each_samples_own() -> None:
    losses = noise_loss_by_sample(latents(0), latents(1))
    alone = [noise_loss(latents(0)[i : i + 1], latents(1)[i : i + 1]) for i in range(3)]
    torch.testing.assert_close(losses, torch.stack(alone))
    torch.testing.assert_close(losses.mean(), noise_loss(latents(0), latents(1)))
