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
from lightning_modules.equations.reverse_diffusion import ancestral_step
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
    side, generators = size_px // model.autoencoder.stride, seeded(seeds)
    noise = draw_noise(generators, (model.autoencoder.latent_channels, side, side))
    noise = noise.to(model.schedule.alpha_bar)
    latents = sample_latents(
        model, prompts, noise, generators, steps=steps, scale=guidance_scale, method=method
    )
    return model.autoencoder.decode(latents)


@torch.inference_mode()
def sample_latents(
    model: DiffusionModel,
    prompts: Sequence[str],
    noise: Tensor,
    generators: Sequence[torch.Generator],
    *,
    steps: int,
    scale: float,
    method: str,
    limit: float = LATENT_LIMIT,
    constraint: Constraint = lambda z_t, t: z_t,
) -> Tensor:
    """Latents (B, c, h, w) that the prompts describe, in `steps` steps of a method of METHODS.

    noise: (B, c, h, w) standard normal; generators: one per sample, on the CPU, of the noise of
    each step. Raises ValueError for an unknown method and for more steps than the schedule has.
    """
    times, alpha_bar = times_of(model.schedule, steps), model.schedule.alpha_bar
    step = stepper_of(method, alpha_bar, times, generators)
    text, null = embed_with_null(model.text_encoder, prompts)
    predict = guided(model.denoiser, text=text, null=null, scale=scale)
    z = noise
    for t, previous in pairwise(times):
        z = constraint(z, t)
        time = torch.full((len(z),), t, device=z.device)
        eps = within(z, predict(z, time), time, alpha_bar=alpha_bar, limit=limit)
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
    method: str, alpha_bar: Tensor, times: Sequence[int], generators: Sequence[torch.Generator]
) -> Step:
    """The steps of a method through `times`; ValueError for an unknown one.

    ancestral draws from the posterior, with fresh noise for each sample (eq. 7); ddim follows one
    noise estimate (Song et al. 2021); dpmpp remembers the last one too (Lu et al. 2022).
    """
    if method == "ancestral":

        def step(z_t: Tensor, eps: Tensor, t: int, previous: int) -> Tensor:
            fresh = draw_noise(generators, z_t.shape[1:]).to(z_t)
            # The step may skip times: it is the one step of a schedule that knows these two alone.
            levels = torch.stack([alpha_bar[previous], alpha_bar[t]])
            now = torch.ones(len(z_t), dtype=torch.int64, device=z_t.device)
            return ancestral_step(z_t, eps, noise=fresh, t=now, alpha_bar=levels)

        return step
    # The library's own spacing would count the earlier time of a step in whole strides, which is
    # another time than the next step's wherever `steps` doesn't divide T. So it gets a schedule of
    # our times alone, between which alpha_bar is the same.
    level = alpha_bar[torch.tensor(times[::-1], device=alpha_bar.device)].double()
    settings = {
        "num_train_timesteps": len(times) - 1,
        "trained_betas": (1 - level[1:] / level[:-1]).tolist(),
        "timestep_spacing": "trailing",
    }
    if method == "ddim":
        scheduler = DDIMScheduler(**settings, clip_sample=False)
    elif method == "dpmpp":
        scheduler = DPMSolverMultistepScheduler(**settings)
    else:
        raise ValueError(f"sampler is {method!r}: expected one of {', '.join(METHODS)}")
    scheduler.set_timesteps(len(times) - 1)
    # Of the times above 0 the library calls the earliest 0: it counts from there.
    place = {t: count - 1 for count, t in enumerate(reversed(times))}
    return lambda z_t, eps, t, previous: scheduler.step(eps, place[t], z_t, return_dict=False)[0]


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
                f"image side is {side_px} px: expected a multiple of {model.stride} px, the "
                "coarsest stride of the U-Net"
            )
