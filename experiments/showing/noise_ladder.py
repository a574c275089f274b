"""What stage 1 sees and says at each time: noised latents, and the picture it makes of them."""

from collections.abc import Sequence

import torch
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.drawing import pixels_of
from experiments.showing.picture_rows import picture_rows
from lightning_modules.equations.diffusion import add_noise, remove_noise
from lightning_modules.nets.diffusion_features import shared_noise
from lightning_modules.nets.diffusion_model import DiffusionModel, implicit_condition

TIMES = (1, 50, 200, 500, 900)


@torch.no_grad()
def noise_ladder(model: DiffusionModel, images: Tensor, times: Sequence[int] = TIMES) -> Figure:
    """Two rows per image (B, 3, H, W): noised to each time (eq. 2), and cleaned from it at once.

    The denoiser reads each image's pseudo-caption.
    """
    z_0 = model.encode(images)
    eps = shared_noise(z_0).expand_as(z_0)
    condition = implicit_condition(model.caption(images))
    noised, cleaned = [images], [model.autoencoder.decode(z_0)]
    for time in times:
        t = torch.full((len(images),), time, device=images.device)
        z_t = add_noise(z_0, eps, t, model.schedule.alpha_bar)
        said = model.denoiser(z_t, t, condition.tokens, condition.mask)
        guess = remove_noise(z_t, said, t, model.schedule.alpha_bar)
        noised.append(model.autoencoder.decode(z_t))
        cleaned.append(model.autoencoder.decode(guess))
    rows = [
        [pixels_of(step[place]) for step in side]
        for place in range(len(images))
        for side in (noised, cleaned)
    ]
    above = ["image", *(f"t = {time}" for time in times)]
    below = ["through the autoencoder", *("guessed from it" for _ in times)]
    return picture_rows(rows, titles=[above, below] * len(images))
