"""All boxes of stage 1 in one module: the machine that stage 1 trains and stage 2 freezes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from datamodules.sample import Batch
from lightning_modules.nets.autoencoder import Autoencoder
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.image_encoder import ImageEncoder
from lightning_modules.nets.implicit_captioner import ImplicitCaptioner
from lightning_modules.nets.noise_schedule import NoiseSchedule
from lightning_modules.nets.text_encoder import TextEncoder


class DiffusionModel(nn.Module):
    """Autoencoder, text and image towers, implicit captioner, denoiser and noise schedule.

    `denoiser` and `captioner` are built here from the widths of the other parts, so that latent
    channels and text width are stated nowhere twice.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        text_encoder: TextEncoder,
        image_encoder: ImageEncoder,
        denoiser: Callable[[int, int], Denoiser],
        captioner: Callable[[int, int], ImplicitCaptioner] = ImplicitCaptioner,
        schedule: NoiseSchedule | None = None,
    ) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.autoencoder.requires_grad_(False)
        self.text_encoder = text_encoder
        self.text_encoder.requires_grad_(False)
        self.image_encoder = image_encoder
        self.captioner = captioner(image_encoder.width, text_encoder.width)
        self.denoiser = denoiser(autoencoder.latent_channels, text_encoder.width)
        self.schedule = schedule or NoiseSchedule()

    @property
    def stride(self) -> int:
        """Pixels per cell of the denoiser's coarsest map; image sides must be multiples of it."""
        stages = len(self.denoiser.unet.up_blocks)
        return self.autoencoder.stride * 2 ** (stages - 1)

    def load(self) -> None:
        """Reads the weights of the parts that name some; ValueError when one cannot be read."""
        self.autoencoder.load()
        self.text_encoder.load()
        self.image_encoder.load()

    def await_weights(self) -> None:
        """As `load`, where a checkpoint fills in all weights next: its files need not be there."""
        self.autoencoder.await_weights()
        self.text_encoder.load()
        self.image_encoder.await_weights()

    def measure(self, image: Tensor) -> None:
        """Fits the autoencoder's scale to image (B, 3, H, W), where it has one to fit."""
        self.autoencoder.measure(image)

    @torch.no_grad()
    def encode(self, image: Tensor) -> Tensor:
        """Clean latents z_0 of an image, without gradient (eq. 11)."""
        return self.autoencoder.encode(image)

    def caption(self, image: Tensor) -> Tensor:
        """The image's pseudo-caption, (B, D_text)."""
        return self.captioner(self.image_encoder(image))

    def latents_of(self, batch: Batch) -> Tensor:
        """Clean latents z_0 of a batch in float32, the cached ones where it has them."""
        return (self.encode(batch.image) if batch.latents is None else batch.latents).float()

    def caption_of(self, batch: Batch) -> Tensor:
        """The pseudo-captions of a batch's images, (B, D_text)."""
        embedding = batch.image_embedding
        return self.caption(batch.image) if embedding is None else self.captioner(embedding.float())
