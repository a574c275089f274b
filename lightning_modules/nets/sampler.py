"""From noise to latents: the reverse process with guidance (eq. 7 and 10)."""

from itertools import pairwise

import torch
from torch import Tensor

from lightning_modules.equations.diffusion import step_back
from lightning_modules.equations.guidance import guide
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.noise_schedule import NoiseSchedule
from lightning_modules.nets.text_encoder import TextEmbedding

# Latents have unit variance; few true ones lie further out.
LATENT_LIMIT = 3.0


@torch.no_grad()
def sample_latents(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    *,
    noise: Tensor,
    text: TextEmbedding,
    null: TextEmbedding,
    steps: int,
    guidance_scale: float,
    generator: torch.Generator,
    latent_limit: float = LATENT_LIMIT,
) -> Tensor:
    """Latents (B, c, h, w) that the text describes, in `steps` ancestral steps.

    noise: (B, c, h, w) standard normal; null: the embedding of no text, one row; generator:
    of the noise of each step, on the CPU.
    """
    z = noise
    times = torch.linspace(schedule.diffusion_steps, 0, steps + 1).round().int().tolist()
    batch_size = len(noise)
    null_tokens = null.tokens.expand(batch_size, -1, -1)
    null_mask = null.mask.expand(batch_size, -1)
    for t, previous in pairwise(times):
        time = torch.full((batch_size,), t, device=noise.device)
        conditioned = denoiser(z, time, text.tokens, text.mask)
        unconditioned = denoiser(z, time, null_tokens, null_mask)
        eps = guide(unconditioned, conditioned, guidance_scale)
        fresh = torch.randn(z.shape, generator=generator).to(z)
        z = step_back(
            z,
            eps,
            fresh,
            t=t,
            previous=previous,
            alpha_bar=schedule.alpha_bar,
            limit=latent_limit,
        )
    return z
