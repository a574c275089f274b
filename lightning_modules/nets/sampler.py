"""From noise to latents and images: ancestral, DDIM and DPM-Solver++ steps, guided (eq. 7, 10).

A defect painted into a given image is in `inpainting.py`.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise

import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from torch import Tensor

from lightning_modules.equations.diffusion import per_latent, remove_noise
from lightning_modules.equations.guidance import guide
from lightning_modules.equations.reverse_diffusion import step_back
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.diffusion_model import DiffusionModel, NoiseSchedule
from lightning_modules.nets.text_encoder import TextEmbedding, embed_with_null

# Latents have unit variance; few true ones lie further out.
LATENT_LIMIT = 3.0

METHODS = ("ancestral", "ddim", "dpmpp")
# (z_t, eps, t, previous) -> the latents at the earlier time `previous`.
Step = Callable[[Tensor, Tensor, int, int], Tensor]
# (z_t, t) -> latents of the same time in which what is known was put right.
Constraint = Callable[[Tensor, int], Tensor]


def unconstrained(z_t: Tensor, t: int) -> Tensor:
    """The latents as they are: nothing of them is known."""
    return z_t


@torch.inference_mode()
def sample_images(
    model: DiffusionModel,
    prompts: Sequence[str],
    *,
    seeds: Sequence[int],
    size_px: int,
    steps: int,
    guidance_scale: float,
    method: str = "ancestral",
) -> Tensor:
    """Images (B, 3, s, s) in [-1, 1] that the prompts describe.

    seeds: one per image, which depends on its own alone, up to rounding. ValueError for a side
    that the U-Net cannot halve, too many steps, or an unknown method.
    """
    check_side(model, size_px)
    text, null = embed_with_null(model.text_encoder, prompts)
    side = size_px // model.autoencoder.stride
    generators = seeded(seeds)
    noise = draw_noise(generators, (model.autoencoder.latent_channels, side, side))
    latents = sample_latents(
        model.denoiser,
        model.schedule,
        noise=noise.to(text.tokens),
        text=text,
        null=null,
        steps=steps,
        guidance_scale=guidance_scale,
        generators=generators,
        method=method,
    )
    return model.autoencoder.decode(latents)


@torch.inference_mode()
def sample_latents(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    *,
    noise: Tensor,
    text: TextEmbedding,
    null: TextEmbedding,
    steps: int,
    guidance_scale: float,
    generators: Sequence[torch.Generator],
    method: str = "ancestral",
    latent_limit: float = LATENT_LIMIT,
    constraint: Constraint = unconstrained,
) -> Tensor:
    """Latents (B, c, h, w) that the text describes, in `steps` steps of a method of METHODS.

    noise: (B, c, h, w) standard normal; null: the embedding of no text, one row as long as the
    text's; generators: one per sample, on the CPU, of the noise of each step. Raises ValueError
    for an unknown method and for more steps than the schedule has.
    """
    times = times_of(schedule, steps)
    step = stepper_of(method, schedule, times, generators)
    predict = guided(denoiser, text=text, null=null, scale=guidance_scale)
    z = noise
    for t, previous in pairwise(times):
        z = constraint(z, t)
        time = torch.full((len(z),), t, device=z.device)
        eps = within(z, predict(z, time), time, alpha_bar=schedule.alpha_bar, limit=latent_limit)
        z = step(z, eps, t, previous)
    return constraint(z, 0)


def guided(
    denoiser: Denoiser, *, text: TextEmbedding, null: TextEmbedding, scale: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """(z_t, t) -> the noise estimate under guidance, by one call of the U-Net (eq. 10).

    At scale 1 the unconditional estimate cancels out and is not computed.
    """
    if scale == 1:
        return lambda z_t, t: denoiser(z_t, t, text.tokens, text.mask)
    tokens = torch.cat([null.tokens.expand_as(text.tokens), text.tokens])
    mask = torch.cat([null.mask.expand_as(text.mask), text.mask])

    def predict(z_t: Tensor, t: Tensor) -> Tensor:
        both = denoiser(torch.cat([z_t, z_t]), torch.cat([t, t]), tokens, mask)
        unconditioned, conditioned = both.chunk(2)
        return guide(unconditioned, conditioned, scale)

    return predict


def within(z_t: Tensor, eps: Tensor, t: Tensor, *, alpha_bar: Tensor, limit: float) -> Tensor:
    """The noise estimate (B, c, h, w) whose clean latents are held within +-limit.

    Departs from the paper, for all methods alike: near t = T a small error of eps is divided by
    sqrt(alpha_bar) = 0.006, and guidance drives clean latents out of what the decoder knows.
    """
    if math.isinf(limit):
        return eps
    clean = remove_noise(z_t, eps, t, alpha_bar).clamp(-limit, limit)
    level = alpha_bar[t]
    rest = z_t - per_latent(level.sqrt(), z_t) * clean
    return rest / per_latent((1 - level).sqrt(), z_t)


def stepper_of(
    method: str,
    schedule: NoiseSchedule,
    times: Sequence[int],
    generators: Sequence[torch.Generator],
) -> Step:
    """The steps of a method through `times`; ValueError for an unknown one.

    ancestral draws from the posterior, with fresh noise for each sample (eq. 7); ddim follows one
    noise estimate (Song et al. 2021); dpmpp remembers the last one too (Lu et al. 2022).
    """
    if method == "ancestral":

        def step(z_t: Tensor, eps: Tensor, t: int, previous: int) -> Tensor:
            fresh = draw_noise(generators, z_t.shape[1:]).to(z_t)
            return step_back(z_t, eps, fresh, t=t, previous=previous, alpha_bar=schedule.alpha_bar)

        return step
    settings = respaced(schedule, times)
    if method == "ddim":
        return library_step(DDIMScheduler(**settings, clip_sample=False), times)
    if method == "dpmpp":
        return library_step(DPMSolverMultistepScheduler(**settings), times)
    raise ValueError(f"sampler is {method!r}: expected one of {', '.join(METHODS)}")


def respaced(schedule: NoiseSchedule, times: Sequence[int]) -> dict[str, object]:
    """The settings of a library scheduler that knows the descending `times` alone.

    Its own spacing would count the earlier time of a step in whole strides, which is another time
    than that of the next step wherever `steps` doesn't divide T. Between the same two times both
    schedules have the same alpha_bar, so that nothing else changes.
    """
    level = schedule.alpha_bar[torch.tensor(times[::-1], device=schedule.alpha_bar.device)].double()
    betas = (1 - level[1:] / level[:-1]).tolist()
    return {
        "num_train_timesteps": len(betas),
        "trained_betas": betas,
        "prediction_type": "epsilon",
        "timestep_spacing": "trailing",
    }


def library_step(
    scheduler: DDIMScheduler | DPMSolverMultistepScheduler, times: Sequence[int]
) -> Step:
    """The steps of a respaced scheduler.

    Of the times above 0 the library calls the earliest 0, we 1: this one goes here and nowhere
    else.
    """
    scheduler.set_timesteps(len(times) - 1)
    place = {t: count - 1 for count, t in enumerate(reversed(times))}

    def step(z_t: Tensor, eps: Tensor, t: int, previous: int) -> Tensor:
        return scheduler.step(eps, place[t], z_t, return_dict=False)[0]

    return step


def times_of(schedule: NoiseSchedule, steps: int) -> list[int]:
    """`steps` + 1 times from T down to 0, evenly spaced; ValueError outside 1..T steps."""
    last = schedule.diffusion_steps
    if not 1 <= steps <= last:
        raise ValueError(f"sampling steps are {steps}: expected 1 to {last}, the model's own steps")
    return torch.linspace(last, 0, steps + 1, dtype=torch.float64).round().int().tolist()


def seeded(seeds: Iterable[int]) -> list[torch.Generator]:
    """One generator per image, so that no image's noise depends on its neighbours in a batch."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def draw_noise(generators: Sequence[torch.Generator], shape: Sequence[int]) -> Tensor:
    """Standard normal noise (B, *shape) on the CPU, each sample's from its own generator."""
    return torch.stack([torch.randn(*shape, generator=generator) for generator in generators])


def check_side(model: DiffusionModel, *sides_px: int) -> None:
    """Nothing for sides that the U-Net can halve down to its coarsest map; ValueError else."""
    for side_px in sides_px:
        if side_px < model.stride or side_px % model.stride:
            raise ValueError(
                f"picture side is {side_px} px: expected a multiple of {model.stride} px, the "
                "coarsest stride of the U-Net"
            )
