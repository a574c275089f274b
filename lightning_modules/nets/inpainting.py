"""A defect painted into a given image: sampling that keeps all latents but those of a mask.

How an image of any size is cut to what goes in here, and put together again, is no net's matter:
`experiments/generation/windows.py`.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.equations.diffusion import add_noise
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.sampler import (
    Constraint,
    check_side,
    draw_noise,
    sample_latents,
    seeded,
)


def known_region(latents: Tensor, noise: Tensor, is_free: Tensor, alpha_bar: Tensor) -> Constraint:
    """A constraint of `sample_latents`: where cells are not free, the latents of a given image.

    latents: (B, c, h, w) of the image; noise: like them, the one that sampling starts from, so
    that what is known and what is free lie on one path; is_free: (B, 1, h, w) bool.
    """

    def constrained(z_t: Tensor, t: int) -> Tensor:
        time = torch.full((len(z_t),), t, device=z_t.device)
        return torch.where(is_free, z_t, add_noise(latents, noise, time, alpha_bar))  # eq. 2

    return constrained


@torch.inference_mode()
def inpaint_images(
    model: DiffusionModel,
    image: Tensor,
    mask: Tensor,
    prompts: Sequence[str],
    *,
    seeds: Sequence[int],
    steps: int,
    guidance_scale: float,
    method: str = "ancestral",
) -> Tensor:
    """Images (B, 3, H, W) in [-1, 1] in which the prompts' defects lie inside the masks.

    image: (B, 3, H, W) in [-1, 1]; mask: (B, H, W) bool; seeds: one per image. Outside the mask
    the result is only as good as the autoencoder, so that its pixels want to be pasted back.
    ValueError for sides that the U-Net cannot halve, too many steps, or an unknown method.
    """
    check_side(model, *image.shape[-2:])
    latents = model.encode(image)
    generators = seeded(seeds)
    noise = draw_noise(generators, latents.shape[1:]).to(latents)
    is_free = free_cells(mask, model.autoencoder.stride)
    known = known_region(latents, noise, is_free, model.schedule.alpha_bar)
    sampled = sample_latents(
        model,
        prompts,
        noise,
        generators,
        steps=steps,
        scale=guidance_scale,
        method=method,
        constraint=known,
    )
    return model.autoencoder.decode(sampled)


def free_cells(mask: Tensor, stride: int) -> Tensor:
    """(B, 1, H / stride, W / stride) bool: cells of latents in which any pixel of mask is set."""
    return functional.max_pool2d(mask[:, None].float(), stride) > 0
