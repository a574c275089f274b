"""Holds the reverse process with a denoiser whose answer is known."""

import math

import torch
from torch import Tensor, nn

from lightning_modules.nets.noise_schedule import NoiseSchedule
from lightning_modules.nets.sampler import sample_latents
from lightning_modules.nets.text_encoder import HashedTextEncoder

SCHEDULE = NoiseSchedule(diffusion_steps=100)
ENCODER = HashedTextEncoder(4)
CLEAN = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))


class KnowsTheImage(nn.Module):
    """Predicts the noise that leads to CLEAN under a caption, and to zero under none."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[int] = []

    def forward(self, z_t: Tensor, t: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        """The noise in z_t."""
        self.times.append(int(t[0]))
        is_null = context_mask.sum(1) == 1
        clean = CLEAN * (~is_null).view(-1, 1, 1, 1)
        level = SCHEDULE.alpha_bar[t].view(-1, 1, 1, 1)
        return (z_t - level.sqrt() * clean) / (1 - level).sqrt()


def sample(denoiser: KnowsTheImage, *, steps: int, scale: float) -> Tensor:
    return sample_latents(
        denoiser,  # type: ignore[arg-type]
        SCHEDULE,
        noise=NOISE,
        text=ENCODER(["deep crack", "oil stain"]),
        null=ENCODER([""]),
        steps=steps,
        guidance_scale=scale,
        generator=torch.Generator().manual_seed(2),
        latent_limit=math.inf,
    )


def test_known_noise_leads_to_the_image_in_any_number_of_steps() -> None:
    for steps in (1, 4, 100):
        torch.testing.assert_close(
            sample(KnowsTheImage(), steps=steps, scale=1.0), CLEAN, rtol=1e-3, atol=1e-3
        )


def test_scale_zero_follows_no_text() -> None:
    result = sample(KnowsTheImage(), steps=4, scale=0.0)
    torch.testing.assert_close(result, torch.zeros_like(CLEAN), rtol=0, atol=1e-3)


def test_scale_above_one_overshoots_the_caption() -> None:
    result = sample(KnowsTheImage(), steps=1, scale=3.0)
    torch.testing.assert_close(result, 3 * CLEAN, rtol=1e-3, atol=1e-3)


def test_times_run_from_the_last_step_down_twice_each() -> None:
    denoiser = KnowsTheImage()
    sample(denoiser, steps=4, scale=1.0)
    assert denoiser.times == [100, 100, 75, 75, 50, 50, 25, 25]
