"""Holds sampling and inpainting with a denoiser whose answer is known, and with a small one."""

import math
from types import SimpleNamespace

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from torch import Tensor, nn

from lightning_modules.nets.diffusion_model import DiffusionModel, NoiseSchedule
from lightning_modules.nets.inpainting import free_cells, inpaint_images, known_region
from lightning_modules.nets.sampler import (
    METHODS,
    check_side,
    draw_noise,
    sample_images,
    sample_latents,
    seeded,
    stepper_of,
    times_of,
)
from lightning_modules.nets.text_encoder import HashedTextEncoder
from tests.lightning_modules.small_parts import awake_diffusion, defect_batch

SCHEDULE = NoiseSchedule(diffusion_steps=100)
ENCODER = HashedTextEncoder(4)
CLEAN = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
NOISE = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
PROMPTS = ["steel with a crack", "stain", "a tile with several long scratches"]


class KnowsTheImage(nn.Module):
    """Predicts the noise that leads to CLEAN under a caption, and to zero under none."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[int] = []
        self.batch_sizes: list[int] = []

    def forward(self, z_t: Tensor, t: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        """The noise in z_t."""
        self.times.append(int(t[0]))
        self.batch_sizes.append(len(z_t))
        is_null = (context_mask.sum(1) == 1).view(-1, 1, 1, 1)
        clean = CLEAN.repeat(len(z_t) // len(CLEAN), 1, 1, 1) * ~is_null
        level = SCHEDULE.alpha_bar[t].view(-1, 1, 1, 1)
        return (z_t - level.sqrt() * clean) / (1 - level).sqrt()


class Curved(nn.Module):
    """Predicts a smooth noise that depends on latents and time: no step size is exact for it."""

    def forward(self, z_t: Tensor, t: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        """Some noise."""
        return torch.tanh(z_t) * (0.6 + 0.4 * t.view(-1, 1, 1, 1) / 100)


def sample(
    denoiser: nn.Module,
    *,
    steps: int,
    scale: float = 1.0,
    method: str = "ancestral",
    limit: float = math.inf,
) -> Tensor:
    model = SimpleNamespace(denoiser=denoiser, schedule=SCHEDULE, text_encoder=ENCODER)
    prompts = ["deep crack", "oil stain"]
    settings = {"steps": steps, "scale": scale, "method": method, "limit": limit}
    return sample_latents(model, prompts, NOISE, seeded([2, 3]), **settings)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def model() -> DiffusionModel:
    return awake_diffusion()


def images(
    model: DiffusionModel, prompts: list[str], seeds: list[int], **changes: object
) -> Tensor:
    settings: dict = {"size_px": 64, "steps": 4, "guidance_scale": 2.0, **changes}
    return sample_images(model, prompts, seeds=seeds, **settings)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("steps", [1, 4, 7, 100])
def test_known_noise_leads_to_the_image_in_any_number_of_steps(method: str, steps: int) -> None:
    result = sample(KnowsTheImage(), steps=steps, method=method)
    torch.testing.assert_close(result, CLEAN, rtol=2e-3, atol=2e-3)


def test_guidance_is_one_call_of_twice_the_batch_at_each_time() -> None:
    denoiser = KnowsTheImage()
    sample(denoiser, steps=4, scale=2.0)
    assert (denoiser.times, denoiser.batch_sizes) == ([100, 75, 50, 25], [4] * 4)


@pytest.mark.parametrize("method", METHODS)
def test_clean_latents_are_held_within_the_limit(method: str) -> None:
    result = sample(KnowsTheImage(), steps=5, method=method, limit=0.5)
    torch.testing.assert_close(result, CLEAN.clamp(-0.5, 0.5), rtol=2e-3, atol=2e-3)


@pytest.mark.parametrize("steps", [1, 20, 50, 100])
@pytest.mark.parametrize(
    ("method", "library"), [("ddim", DDIMScheduler), ("dpmpp", DPMSolverMultistepScheduler)]
)
def test_steps_that_divide_t_are_those_of_the_library(
    method: str, library: type, steps: int
) -> None:
    settings = {"clip_sample": False} if library is DDIMScheduler else {}
    betas = (1 - SCHEDULE.alpha_bar[1:] / SCHEDULE.alpha_bar[:-1]).tolist()
    scheduler = library(
        num_train_timesteps=100, trained_betas=betas, timestep_spacing="trailing", **settings
    )
    scheduler.set_timesteps(steps)
    z = NOISE
    for t in scheduler.timesteps:
        eps = Curved()(z, torch.full((2,), int(t) + 1), z, z)
        z = scheduler.step(eps, int(t), z, return_dict=False)[0]
    torch.testing.assert_close(
        sample(Curved(), steps=steps, method=method), z, rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("t", [100, 50, 10])
def test_ancestral_step_that_skips_times_is_the_library_s(t: int) -> None:
    scheduler = DDIMScheduler(num_train_timesteps=100, clip_sample=False)
    scheduler.alphas_cumprod = SCHEDULE.alpha_bar[1:].clone()
    scheduler.set_timesteps(10)
    noise = draw_noise(seeded([2, 3]), CLEAN.shape[1:])
    found = scheduler.step(CLEAN, t - 1, NOISE, eta=1.0, variance_noise=noise).prev_sample
    step = stepper_of("ancestral", SCHEDULE.alpha_bar, [100, 0], seeded([2, 3]))
    torch.testing.assert_close(step(NOISE, CLEAN, t, t - 10), found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [0, 101])
def test_impossible_step_counts_are_refused(steps: int) -> None:
    with pytest.raises(ValueError, match=f"steps are {steps}: expected 1 to 100"):
        times_of(SCHEDULE, steps)


def test_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="'plms': expected one of ancestral, ddim, dpmpp"):
        sample(KnowsTheImage(), steps=2, method="plms")


@pytest.mark.parametrize("method", METHODS)
def test_image_depends_on_its_own_seed_and_prompt_alone(model: DiffusionModel, method: str) -> None:
    together = images(model, PROMPTS, [4, 5, 6], method=method)
    alone = images(model, PROMPTS[1:2], [5], method=method)
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-4)


def test_sides_that_the_unet_cannot_halve_are_refused(model: DiffusionModel) -> None:
    for side_px in (0, 20, 100):
        with pytest.raises(ValueError, match=f"side is {side_px} px: expected a multiple of 32"):
            check_side(model, side_px)


def square_mask() -> Tensor:
    """One mask of 64 px that covers four cells of 8 px in the middle, two of them by one pixel."""
    mask = torch.zeros(1, 64, 64, dtype=torch.bool)
    mask[:, 25:33, 24:40] = True
    return mask


def paint(model: DiffusionModel, image: Tensor, mask: Tensor, **changes: object) -> Tensor:
    settings: dict = {"seeds": [3], "steps": 4, "guidance_scale": 2.0, **changes}
    return inpaint_images(model, image, mask, ["steel with crack"], **settings)


def test_cells_with_any_pixel_of_the_mask_are_free() -> None:
    cells = free_cells(square_mask(), 8)
    assert cells.shape == (1, 1, 8, 8)
    assert torch.nonzero(cells[0, 0]).tolist() == [[3, 3], [3, 4], [4, 3], [4, 4]]


@pytest.mark.parametrize("method", METHODS)
def test_cells_without_mask_keep_the_image_that_the_autoencoder_gives_back(
    model: DiffusionModel, method: str
) -> None:
    image = defect_batch().image[3:]
    result = paint(model, image, square_mask(), method=method)
    kept = ~free_cells(square_mask(), 8).repeat_interleave(8, 2).repeat_interleave(8, 3)
    same = model.autoencoder.decode(model.encode(image))
    torch.testing.assert_close(result[kept.expand_as(result)], same[kept.expand_as(same)])
    assert (result - same).abs().max() > 0.05


def test_known_cells_are_on_the_path_from_image_to_noise() -> None:
    clean, noise = torch.full((1, 2, 4, 4), 2.0), torch.full((1, 2, 4, 4), -1.0)
    alpha_bar = torch.tensor([1.0, 0.64, 0.0])
    is_free = torch.zeros(1, 1, 4, 4, dtype=torch.bool)
    is_free[..., 0] = True
    known = known_region(clean, noise, is_free, alpha_bar)
    z = torch.full((1, 2, 4, 4), 7.0)
    # sqrt(0.64) * 2 - sqrt(0.36) * 1 = 1.0
    for t, value in {0: 2.0, 1: 1.0, 2: -1.0}.items():
        row = known(z, t)[0, 0, 0]
        torch.testing.assert_close(row, torch.tensor([7.0, value, value, value]))


@pytest.mark.gpu
def test_every_method_samples_on_a_gpu(model: DiffusionModel) -> None:
    for method in METHODS:
        result = images(model.cuda(), PROMPTS, [1, 2, 3], method=method)
        assert result.is_cuda and result.isfinite().all()
