"""Features of a frozen diffusion model at one noise level (NOTES 12, 14).

How the nets stop at their last tapped block is in `truncated_pass.py`, and what the U-Net reads
in `feature_latents.py`.
"""

import torch
from torch import Tensor, nn

from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.feature_context import CONTEXTS
from lightning_modules.nets.feature_latents import FEATURE_MODES


class DiffusionFeatures(nn.Module):
    """Feature maps of the frozen denoiser at step `feature_timestep` of noising.

    `taps` is `unet` (the input of each up stage's last residual block) or `full` (beside them the
    maps of the autoencoder; the ancestor's eight with the KL-VAE). `mode` is `single` (one pass,
    the noise one fixed draw, the same in training and test) or `sequential` (`feature_timestep`
    passes). `context` is what the denoiser reads beside the latents, `implicit` or `none`
    (`feature_context.py`). `strides` and `channels` describe the maps. Raises ValueError for
    another word, a time that the schedule does not have, or taps that the autoencoder has not.
    """

    def __init__(
        self,
        diffusion: DiffusionModel,
        feature_timestep: int,
        taps: str,
        mode: str = "single",
        context: str = "implicit",
    ) -> None:
        super().__init__()
        self.diffusion = diffusion
        self.diffusion.requires_grad_(False).eval()
        self.feature_timestep = feature_timestep
        autoencoder = diffusion.autoencoder
        inner_taps = (*autoencoder.encoder_taps, *autoencoder.decoder_taps)
        if taps not in ("full", "unet"):
            raise ValueError(f"taps is {taps!r}: expected full or unet")
        if mode not in FEATURE_MODES:
            raise ValueError(f"feature_mode is {mode!r}: expected {' or '.join(FEATURE_MODES)}")
        if context not in CONTEXTS:
            raise ValueError(f"context is {context!r}: expected {' or '.join(CONTEXTS)}")
        if not 1 <= feature_timestep <= diffusion.schedule.diffusion_steps:
            raise ValueError(
                f"feature_timestep is {feature_timestep}: expected 1 to "
                f"{diffusion.schedule.diffusion_steps}, the schedule's steps"
            )
        if taps == "full" and not inner_taps:
            raise ValueError(
                f"taps is 'full', but {type(autoencoder).__name__} has no layers to tap: "
                "set taps: unet"
            )
        self.latents, self.context = FEATURE_MODES[mode], context
        self.taps_autoencoder = taps == "full"
        self.channels = list(diffusion.denoiser.map_channels)
        self.strides = [diffusion.stride // 2**level for level in range(len(self.channels))]
        if self.taps_autoencoder:
            self.channels += [tap.channels for tap in inner_taps]
            self.strides += [tap.stride for tap in inner_taps]

    def train(self, mode: bool = True) -> "DiffusionFeatures":
        """Stays in evaluation mode: the model is frozen."""
        return super().train(False)

    # Not inference_mode: the layers that train on these maps keep them for their backward pass,
    # which inference tensors refuse. A copy of the maps would cost more than the mode saves.
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
        if not self.taps_autoencoder:
            return self.denoiser_maps(image, self.diffusion.encode(image))
        autoencoder = self.diffusion.autoencoder
        z_0, encoder_maps = autoencoder.encode_with_maps(image)
        unet_maps = self.denoiser_maps(image, z_0)
        return [*unet_maps, *encoder_maps, *autoencoder.maps_of_decoding(z_0)]

    def denoiser_maps(self, image: Tensor, z_0: Tensor) -> list[Tensor]:
        """The U-Net's maps of an image and its clean latents, coarse to fine."""
        model = self.diffusion
        condition = CONTEXTS[self.context](model, image)
        z_t = self.latents(model, z_0, self.feature_timestep, condition)
        t = torch.full((len(image),), self.feature_timestep, device=image.device)
        return model.denoiser.maps(z_t, t, condition.tokens, condition.mask)
