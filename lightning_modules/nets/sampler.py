"""From noise to latents: the reverse process with guidance (eq. 7 and 10)."""

from itertools import pairwise

import torch
from torch import Tensor

from lightning_modules.equations.diffusion import step_back
from lightning_modules.equations.guidance import guide
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.noise_schedule import NoiseSchedule
from lightning_modules.nets.text_encoder import TextEmbedding


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
) -> Tensor:
    """Latents (B, c, h, w) that the text describes, in `steps` deterministic steps (DDIM).

    noise: (B, c, h, w) standard normal; null: the embedding of no text, one row.
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
        z = step_back(z, eps, t=t, previous=previous, alpha_bar=schedule.alpha_bar)
    return z
