"""The latents of which features are taken at step t: noised at once, or inverted step by step.

Which one the paper's Table 1 timed is open (NOTES 12); both are here. What is done with them is
in `diffusion_features.py`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from lightning_modules.equations.diffusion import add_noise
from lightning_modules.equations.reverse_diffusion import invert_step
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.text_encoder import TextEmbedding

NOISE_SEED = 42
FeatureLatents = Callable[[DiffusionModel, Tensor, int, TextEmbedding], Tensor]


def shared_noise(z_0: Tensor) -> Tensor:
    """The one fixed noise draw, the same for each image: (1, c, h, w)."""
    generator = torch.Generator().manual_seed(NOISE_SEED)
    return torch.randn(1, *z_0.shape[1:], generator=generator).to(z_0)


def noise_at_once(
    model: DiffusionModel, z_0: Tensor, timestep: int, condition: TextEmbedding
) -> Tensor:
    """Latents noised to `timestep` by the shared noise, at the same cost for every t (eq. 2)."""
    t = torch.full((len(z_0),), timestep, device=z_0.device)
    return add_noise(z_0, shared_noise(z_0).expand_as(z_0), t, model.schedule.alpha_bar)


def invert_step_by_step(
    model: DiffusionModel, z_0: Tensor, timestep: int, condition: TextEmbedding
) -> Tensor:
    """Latents that the model itself takes from 0 to `timestep` - 1, a whole pass for each step.

    The pass that features are taken of is the last one of the inversion to `timestep`: together
    they are `timestep` passes.
    """
    z_t = z_0
    for step in range(1, timestep):
        t = torch.full((len(z_0),), step, device=z_0.device)
        eps = model.denoiser(z_t, t, condition.tokens, condition.mask)
        z_t = invert_step(z_t, eps, t=t, alpha_bar=model.schedule.alpha_bar)
    return z_t


FEATURE_MODES: dict[str, FeatureLatents] = {
    "single": noise_at_once,
    "sequential": invert_step_by_step,
}
