"""Features of a frozen diffusion model at one noise level (docs/paper.md, rows 12 and 14).

How the nets stop at their last tapped block is in `truncated_pass.py`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lightning_modules.equations.diffusion import add_noise
from lightning_modules.equations.reverse_diffusion import invert_step
from lightning_modules.nets.diffusion_model import DiffusionModel, implicit_condition
from lightning_modules.nets.text_encoder import TextEmbedding

NOISE_SEED = 42


class DiffusionFeatures(nn.Module):
    """Feature maps of the frozen denoiser at step `feature_timestep` of noising.

    `taps` is `unet` (the input of each up stage's last residual block) or `full` (also the maps of
    the autoencoder; the ancestor's eight with the KL-VAE). `mode` is `single` (one pass on latents
    noised at once) or `sequential` (latents inverted step by step, `feature_timestep` passes);
    which one the paper's Table 1 timed is open (row 12). `context` is what the denoiser reads
    beside the latents: the image's pseudo-caption (`implicit`) or the empty text (`none`).
    `strides` and `channels` describe the maps. Raises ValueError for another word, a time that the
    schedule does not have, or taps that the autoencoder does not have.
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
        self.feature_timestep, self.mode, self.context = feature_timestep, mode, context
        autoencoder = diffusion.autoencoder
        inner_taps = (*autoencoder.encoder_taps, *autoencoder.decoder_taps)
        if taps not in ("full", "unet"):
            raise ValueError(f"taps is {taps!r}: expected full or unet")
        if mode not in ("single", "sequential"):
            raise ValueError(f"feature_mode is {mode!r}: expected single or sequential")
        if context not in ("implicit", "none"):
            raise ValueError(f"context is {context!r}: expected implicit or none")
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
        model, timestep = self.diffusion, self.feature_timestep
        if self.context == "implicit":
            condition = implicit_condition(model.caption(image))
        else:
            condition = model.text_encoder([""] * len(image))  # stage 1's null (row 3)
        if self.mode == "single":
            z_t = noise_at_once(model, z_0, timestep)
        else:
            z_t = invert_step_by_step(model, z_0, timestep, condition)
        t = torch.full((len(image),), timestep, device=image.device)
        return model.denoiser.maps(z_t, t, condition.tokens, condition.mask)


def shared_noise(z_0: Tensor) -> Tensor:
    """The one fixed noise draw, the same for each image, in training and test: (1, c, h, w)."""
    generator = torch.Generator().manual_seed(NOISE_SEED)
    return torch.randn(1, *z_0.shape[1:], generator=generator).to(z_0)


def noise_at_once(model: DiffusionModel, z_0: Tensor, timestep: int) -> Tensor:
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


class FeatureStore:
    """Frozen features of training images that come again, float16 in memory, up to `limit_bytes`.

    They come again where the data draws from a fixed number of augmented variants of each image.
    What does not fit is taken anew at each turn, so the limit costs time and never changes a
    result: maps are rounded to float16 whether they are kept or not. A limit of 0 switches both
    off. Each process keeps its own.
    """

    def __init__(self, take: Callable[[Tensor], list[Tensor]], limit_bytes: int) -> None:
        self.take, self.limit_bytes = take, limit_bytes
        self.held_bytes = 0
        self._kept: dict[int, list[Tensor]] = {}

    def __call__(self, image: Tensor, variant_ids: Sequence[int]) -> list[Tensor]:
        """The maps of image (B, 3, H, W), taken only of the variants that are not kept.

        Raises ValueError for features that float16 cannot hold.
        """
        if not self.limit_bytes:
            return self.take(image)
        rows = {variant: self._kept[variant] for variant in variant_ids if variant in self._kept}
        new = [place for place, variant in enumerate(variant_ids) if variant not in rows]
        if new:
            maps = [each.half() for each in self.take(image[new])]
            for place, *row in zip(new, *maps, strict=True):
                rows[variant_ids[place]] = row
                self._keep(variant_ids[place], row)
        columns = zip(*(rows[variant] for variant in variant_ids), strict=True)
        return [
            torch.stack([each.to(image.device) for each in column]).to(image.dtype)
            for column in columns
        ]

    def _keep(self, variant: int, row: list[Tensor]) -> None:
        if not all(bool(each.isfinite().all()) for each in row):
            raise ValueError(
                "features are beyond float16's range of 65504, expected them within: set "
                "feature_cache_gb: 0, which keeps none"
            )
        size_bytes = sum(each.nbytes for each in row)
        if variant not in self._kept and self.held_bytes + size_bytes <= self.limit_bytes:
            # Copied, because a row of a batch would hold the whole batch.
            self._kept[variant] = [each.to("cpu", copy=True) for each in row]
            self.held_bytes += size_bytes
