"""Features of a frozen diffusion model at one noise level (NOTES 12, 14).

How the nets stop at their last tapped block is in `truncated_pass.py`.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from lightning_modules.equations.diffusion import add_noise
from lightning_modules.equations.reverse_diffusion import invert_step
from lightning_modules.nets.diffusion_model import DiffusionModel, implicit_condition
from lightning_modules.nets.text_encoder import TextEmbedding

FeatureContext = Callable[[DiffusionModel, Tensor], TextEmbedding]


def pseudo_captions(model: DiffusionModel, image: Tensor) -> TextEmbedding:
    """The implicit caption of each image (B, 3, H, W), as a text of one token."""
    return implicit_condition(model.caption(image))


def no_text(model: DiffusionModel, image: Tensor) -> TextEmbedding:
    """The empty text for each image, as the null condition of stage 1 is (NOTES 3)."""
    null, count = model.text_encoder([""]), len(image)
    return TextEmbedding(
        null.tokens.expand(count, -1, -1),
        null.mask.expand(count, -1),
        null.pooled.expand(count, -1),
    )


CONTEXTS: dict[str, FeatureContext] = {"implicit": pseudo_captions, "none": no_text}


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


class DiffusionFeatures(nn.Module):
    """Feature maps of the frozen denoiser at step `feature_timestep` of noising.

    `taps` is `unet` (the input of each up stage's last residual block) or `full` (beside them the
    maps of the autoencoder; the ancestor's eight with the KL-VAE). `mode` is `single` (one pass,
    the noise one fixed draw, the same in training and test) or `sequential` (`feature_timestep`
    passes). `context` is what the denoiser reads beside the latents, `implicit` or `none`.
    `strides` and `channels` describe the maps. Raises ValueError for
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


class FeatureStore:
    """Feature maps by the variant they are of, float16 in main memory, up to `limit_bytes`.

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
