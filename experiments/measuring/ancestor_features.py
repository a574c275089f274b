"""Features as the paper's ancestor takes them: whole nets, and one crop after the other.

Written from a description of what that system computes, on our nets and with our noise, so that
only the amount of work differs. Ours is `lightning_modules/nets/diffusion_features.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from torch import Tensor, nn

from lightning_modules.nets.autoencoder import KlAutoencoder
from lightning_modules.nets.diffusion_features import DiffusionFeatures
from lightning_modules.nets.diffusion_model import DiffusionModel, implicit_condition


class AncestorFeatures(DiffusionFeatures):
    """The eight maps of `taps: full`, read by hooks from whole passes.

    The U-Net runs to its end, the decoder to an image that nobody looks at. Raises ValueError
    where the autoencoder is not the KL-VAE.
    """

    def __init__(self, diffusion: DiffusionModel, feature_timestep: int) -> None:
        if not isinstance(diffusion.autoencoder, KlAutoencoder):
            raise ValueError(
                f"the autoencoder is {type(diffusion.autoencoder).__name__}: expected "
                "KlAutoencoder, the ancestor's"
            )
        super().__init__(diffusion, feature_timestep, taps="full")

    @torch.no_grad()
    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps (B, channels[i], H / strides[i], W / strides[i]) of image (B, 3, H, W)."""
        each = [self.maps_of_one(crop) for crop in image.split(1)]
        return [torch.cat(maps) for maps in zip(*each, strict=True)]

    def maps_of_one(self, crop: Tensor) -> list[Tensor]:
        """The maps of one crop (1, 3, H, W)."""
        model = self.diffusion
        vae = cast(KlAutoencoder, model.autoencoder).vae
        encoder_taps = [stage.resnets[1] for stage in vae.encoder.down_blocks[-2:]]
        unet_taps = [stage.resnets[-1] for stage in model.denoiser.unet.up_blocks]
        decoder_taps = [stage.resnets[2] for stage in vae.decoder.up_blocks[:2]]
        with recorded_inputs(encoder_taps) as encoder_maps:
            z_0 = model.autoencoder.encode(crop)
        condition = implicit_condition(model.caption(crop))
        z_t = self.latents(model, z_0, self.feature_timestep, condition)
        t = torch.full((1,), self.feature_timestep, device=crop.device)
        with recorded_inputs(unet_taps) as unet_maps:
            model.denoiser(z_t, t, condition.tokens, condition.mask)
        with recorded_inputs(decoder_taps) as decoder_maps:
            model.autoencoder.decode(z_0)
        return [*unet_maps, *encoder_maps, *decoder_maps]


@contextmanager
def recorded_inputs(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """A list that fills with the first input of each module, in the order of their calls."""
    inputs: list[Tensor] = []

    def record(_module: nn.Module, arguments: tuple[Tensor, ...]) -> None:
        inputs.append(arguments[0])

    handles = [module.register_forward_pre_hook(record) for module in modules]
    try:
        yield inputs
    finally:
        for handle in handles:
            handle.remove()
