"""Holds the latents that features are taken of: noised at once, and inverted step by step."""

import pytest
import torch
from diffusers import DDIMInverseScheduler
from torch import Tensor

from lightning_modules.equations.diffusion import add_noise
from lightning_modules.nets.diffusion_features import (
    invert_step_by_step,
    noise_at_once,
    shared_noise,
)
from lightning_modules.nets.diffusion_model import DiffusionModel, implicit_condition
from lightning_modules.nets.text_encoder import TextEmbedding
from tests.lightning_modules.small_parts import small_denoiser, small_diffusion


@pytest.fixture
def model(seed: int) -> DiffusionModel:
    """A small model whose denoiser predicts something."""
    diffusion = small_diffusion().eval().requires_grad_(False)
    diffusion.denoiser = small_denoiser(32, 16, zero_init=False).eval().requires_grad_(False)
    return diffusion


def latents() -> Tensor:
    return torch.randn(2, 32, 8, 8, generator=torch.Generator().manual_seed(0))


def condition() -> TextEmbedding:
    return implicit_condition(torch.randn(2, 16, generator=torch.Generator().manual_seed(1)))


class CountedPasses:
    """Counts the whole passes of a model's denoiser."""

    def __init__(self, model: DiffusionModel) -> None:
        self.count = 0
        model.denoiser.register_forward_pre_hook(self._count)

    def _count(self, *_: object) -> None:
        self.count += 1


def test_noise_at_once_is_equation_2_with_one_draw_for_all(model: DiffusionModel) -> None:
    z_0, t = latents(), torch.tensor([300, 300])
    noise = shared_noise(z_0)
    expected = add_noise(z_0, torch.cat([noise, noise]), t, model.schedule.alpha_bar)
    assert noise_at_once(model, z_0, 300, condition()).equal(expected)


@pytest.mark.parametrize("timestep", [1, 50, 1000])
def test_noising_at_once_takes_no_pass_at_any_time(model: DiffusionModel, timestep: int) -> None:
    passes = CountedPasses(model)
    noise_at_once(model, latents(), timestep, condition())
    assert passes.count == 0


@pytest.mark.parametrize("timestep", [1, 2, 7])
def test_inversion_takes_a_pass_for_each_step_before_the_tapped_one(
    model: DiffusionModel, timestep: int
) -> None:
    passes = CountedPasses(model)
    invert_step_by_step(model, latents(), timestep, condition())
    assert passes.count == timestep - 1


def test_inversion_follows_the_library_s(model: DiffusionModel) -> None:
    scheduler = DDIMInverseScheduler(1000, 1e-4, 2e-2, "linear", clip_sample=False)
    scheduler.set_timesteps(1000)
    text, expected = condition(), latents()
    for step in scheduler.timesteps[:5]:
        read = {"encoder_hidden_states": text.tokens, "encoder_attention_mask": text.mask}
        noise = model.denoiser.unet(expected, step, **read).sample
        expected = scheduler.step(noise, int(step), expected).prev_sample
    ours = invert_step_by_step(model, latents(), 6, text)
    torch.testing.assert_close(ours, expected, rtol=0, atol=1e-5)


def test_inversion_draws_nothing(model: DiffusionModel) -> None:
    one, other = (invert_step_by_step(model, latents(), 4, condition()) for _ in range(2))
    assert one.equal(other) and not one.equal(latents())
