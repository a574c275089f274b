"""Holds the diffusion equations against hand-worked numbers and diffusers' schedulers."""

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
    remove_noise,
    step_back,
)

T = 1000
ALPHA_BAR = cumulate_alphas(linear_betas(T, 1e-4, 2e-2)).float()
PAPER = {"num_train_timesteps": T, "beta_start": 1e-4, "beta_end": 2e-2, "beta_schedule": "linear"}


def latents(seed: int, count: int = 3) -> Tensor:
    return torch.randn(count, 2, 4, 4, generator=torch.Generator().manual_seed(seed))


def test_linear_betas_lie_on_the_papers_line() -> None:
    betas = linear_betas(T, 1e-4, 2e-2)
    assert betas[0].item() == pytest.approx(1e-4)
    assert betas[-1].item() == pytest.approx(2e-2)
    assert betas[9].item() == pytest.approx(1e-4 + 9 / 999 * (2e-2 - 1e-4))


def test_alpha_bar_is_the_running_product_after_a_one() -> None:
    alpha_bar = cumulate_alphas(torch.tensor([0.1, 0.2], dtype=torch.float64))
    torch.testing.assert_close(alpha_bar, torch.tensor([1.0, 0.9, 0.72], dtype=torch.float64))


def test_cosine_betas_equal_diffusers() -> None:
    reference = DDPMScheduler(num_train_timesteps=T, beta_schedule="squaredcos_cap_v2").betas
    torch.testing.assert_close(cosine_betas(T).float(), reference, rtol=1e-5, atol=1e-6)


def test_noise_at_step_zero_leaves_the_latent() -> None:
    noised = add_noise(latents(0), latents(1), torch.zeros(3, dtype=torch.long), ALPHA_BAR)
    assert torch.equal(noised, latents(0))


def test_noise_at_last_step_forgets_the_image() -> None:
    last = torch.full((3,), T)
    noised = add_noise(latents(0), latents(1), last, ALPHA_BAR)
    torch.testing.assert_close(noised, latents(1), atol=0.03, rtol=0)


def test_noise_by_hand() -> None:
    alpha_bar = torch.tensor([1.0, 0.36])
    noised = add_noise(
        torch.full((1, 1, 1, 1), 2.0), torch.full((1, 1, 1, 1), -1.0), torch.tensor([1]), alpha_bar
    )
    assert noised.item() == pytest.approx(0.6 * 2 - 0.8)


def test_each_sample_has_its_own_time() -> None:
    noised = add_noise(latents(0), latents(1), torch.tensor([0, 500, T]), ALPHA_BAR)
    alone = add_noise(latents(0)[1:2], latents(1)[1:2], torch.tensor([500]), ALPHA_BAR)
    torch.testing.assert_close(noised[1:2], alone)


@pytest.mark.parametrize("t", [1, 2, 50, 500, T])
def test_noise_equals_diffusers_whose_time_starts_at_zero(t: int) -> None:
    reference = DDPMScheduler(**PAPER)
    expected = reference.add_noise(latents(0), latents(1), torch.full((3,), t - 1))
    noised = add_noise(latents(0), latents(1), torch.full((3,), t), ALPHA_BAR)
    torch.testing.assert_close(noised, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("t", [0, 1, 50, 500])
def test_true_noise_gives_the_latent_back(t: int) -> None:
    times = torch.full((3,), t)
    noised = add_noise(latents(0), latents(1), times, ALPHA_BAR)
    clean = remove_noise(noised, latents(1), times, ALPHA_BAR)
    torch.testing.assert_close(clean, latents(0), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("t", [T, 500, 100])
def test_step_back_equals_ancestral_sampling_that_skips(t: int) -> None:
    reference = DDIMScheduler(**PAPER, clip_sample=False, set_alpha_to_one=True)
    reference.set_timesteps(10)
    expected = reference.step(
        latents(1), t - 1, latents(0), eta=1.0, variance_noise=latents(2)
    ).prev_sample
    back = step_back(latents(0), latents(1), latents(2), t=t, previous=t - 100, alpha_bar=ALPHA_BAR)
    torch.testing.assert_close(back, expected, rtol=1e-5, atol=1e-5)


def test_step_back_to_the_start_is_the_clean_latent() -> None:
    z_t = add_noise(latents(0), latents(1), torch.full((3,), 700), ALPHA_BAR)
    back = step_back(z_t, latents(1), latents(2), t=700, previous=0, alpha_bar=ALPHA_BAR)
    torch.testing.assert_close(back, latents(0), rtol=1e-5, atol=1e-5)


def test_step_back_by_one_is_equation_7() -> None:
    t, beta = 400, linear_betas(T, 1e-4, 2e-2).float()[399]
    mean = (latents(0) - beta / (1 - ALPHA_BAR[t]).sqrt() * latents(1)) / (1 - beta).sqrt()
    sigma = (beta * (1 - ALPHA_BAR[t - 1]) / (1 - ALPHA_BAR[t])).sqrt()
    back = step_back(latents(0), latents(1), latents(2), t=t, previous=t - 1, alpha_bar=ALPHA_BAR)
    torch.testing.assert_close(back, mean + sigma * latents(2), rtol=1e-4, atol=1e-4)


def test_step_back_holds_the_clean_latent_within_the_limit() -> None:
    back = step_back(
        latents(0), latents(1), latents(2), t=T, previous=0, alpha_bar=ALPHA_BAR, limit=0.5
    )
    assert back.abs().max() == pytest.approx(0.5)


def test_noise_loss_is_the_mean_square() -> None:
    loss = noise_loss(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 0.0, 3.0, 1.0]))
    assert loss.item() == pytest.approx((0 + 4 + 0 + 9) / 4)


def test_noise_loss_is_taken_in_float32() -> None:
    assert noise_loss(latents(0).half(), latents(1).half()).dtype == torch.float32
