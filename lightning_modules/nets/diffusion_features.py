"""Features of a frozen diffusion model at one noise level, in a single pass (NOTES 12, 14)."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import cast

import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from lightning_modules.equations.diffusion import add_noise
from lightning_modules.nets.autoencoder import KlAutoencoder
from lightning_modules.nets.conditioning import implicit_condition
from lightning_modules.nets.denoiser import tap_modules
from lightning_modules.nets.diffusion_model import DiffusionModel

NOISE_SEED = 42


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


class DiffusionFeatures(nn.Module):
    """Feature maps of the frozen denoiser at step `feature_timestep` of noising.

    `taps` is `unet` (the input of each up stage's last residual block) or `full` (the ancestor's
    eight: two of the VAE encoder, four of the U-Net, two of the VAE decoder). The noise is one
    fixed draw, the same in training and test. `strides` and `channels` describe the maps.
    Raises ValueError for taps that the autoencoder does not have.
    """

    def __init__(self, diffusion: DiffusionModel, feature_timestep: int, taps: str) -> None:
        super().__init__()
        self.diffusion = diffusion
        self.diffusion.requires_grad_(False).eval()
        self.feature_timestep = feature_timestep
        self.taps = taps
        autoencoder = diffusion.autoencoder
        if taps not in ("full", "unet"):
            raise ValueError(f"taps is {taps!r}: expected full or unet")
        if taps == "full" and not isinstance(autoencoder, KlAutoencoder):
            raise ValueError(
                f"taps is 'full', but {type(autoencoder).__name__} has no layers to tap: "
                "set taps: unet"
            )
        groups = self.tapped_modules()
        self.channels: list[int] = [block.in_channels for group in groups for block in group]
        self.strides = [diffusion.stride // 2**level for level in range(len(groups[0]))]
        if taps == "full":
            half = autoencoder.stride // 2
            self.strides += [half, autoencoder.stride, autoencoder.stride, half]

    def tapped_modules(self) -> tuple[list[ResnetBlock2D], ...]:
        """The tapped blocks of the U-Net, the VAE's encoder and its decoder.

        Looked up anew each time, because loading weights replaces the VAE.
        """
        unet_taps = tap_modules(self.diffusion.denoiser)
        if self.taps == "unet":
            return unet_taps, [], []
        vae = cast(KlAutoencoder, self.diffusion.autoencoder).vae
        encoder_taps = [block.resnets[1] for block in vae.encoder.down_blocks[-2:]]
        return unet_taps, encoder_taps, [block.resnets[2] for block in vae.decoder.up_blocks[:2]]

    def train(self, mode: bool = True) -> "DiffusionFeatures":
        """Stays in evaluation mode: the model is frozen."""
        return super().train(False)

    def shared_noise(self, z_0: Tensor) -> Tensor:
        """The one fixed noise draw, the same for each image: (1, c, h, w)."""
        generator = torch.Generator().manual_seed(NOISE_SEED)
        return torch.randn(1, *z_0.shape[1:], generator=generator).to(z_0)

    @torch.no_grad()
    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps (B, channels[i], H / strides[i], W / strides[i]) of image (B, 3, H, W).

        H and W must be multiples of the coarsest stride; ValueError otherwise.
        """
        coarsest = self.diffusion.stride
        if image.shape[-2] % coarsest or image.shape[-1] % coarsest:
            raise ValueError(
                f"image is {image.shape[-2]} x {image.shape[-1]} px: expected multiples of "
                f"{coarsest}, the coarsest stride; set the crop and tile size accordingly"
            )
        model = self.diffusion
        unet_taps, encoder_taps, decoder_taps = self.tapped_modules()
        with recorded_inputs(encoder_taps) as encoder_maps:
            z_0 = model.encode(image)
        t = torch.full((len(image),), self.feature_timestep, device=image.device)
        eps = self.shared_noise(z_0).expand_as(z_0)
        z_t = add_noise(z_0, eps, t, model.schedule.alpha_bar)
        condition = implicit_condition(model.caption(image))
        with recorded_inputs(unet_taps) as unet_maps:
            model.denoiser(z_t, t, condition.tokens, condition.mask)
        with recorded_inputs(decoder_taps) as decoder_maps:
            if decoder_taps:
                model.autoencoder.decode(z_0)
        return [*unet_maps, *encoder_maps, *decoder_maps]
