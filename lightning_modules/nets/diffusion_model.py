"""All boxes of stage 1 in one module: what stage 1 trains and stage 2 freezes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from datamodules.sample import Batch
from lightning_modules.equations.diffusion import cosine_betas, cumulate_alphas, linear_betas
from lightning_modules.nets.autoencoder import Autoencoder
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.image_encoder import ImageEncoder
from lightning_modules.nets.text_encoder import TextEmbedding, TextEncoder


class NoiseSchedule(nn.Module):
    """alpha_bar for T diffusion steps; `kind` is `linear` (Table 2) or `cosine`.

    Raises ValueError for another kind.
    """

    alpha_bar: Tensor

    def __init__(
        self,
        diffusion_steps: int = 1000,
        kind: str = "linear",
        beta_start: float = 1e-4,
        beta_end: float = 2e-2,
    ) -> None:
        super().__init__()
        if kind == "linear":
            betas = linear_betas(diffusion_steps, beta_start, beta_end)
        elif kind == "cosine":
            betas = cosine_betas(diffusion_steps)
        else:
            raise ValueError(f"noise schedule is {kind!r}: expected linear or cosine")
        self.diffusion_steps = diffusion_steps
        alpha_bar = cumulate_alphas(betas).to(torch.float32)
        self.register_buffer("alpha_bar", alpha_bar, persistent=False)


TEXT, IMPLICIT, NULL = 0, 1, 2


def implicit_condition(pseudo_caption: Tensor) -> TextEmbedding:
    """A pseudo-caption (B, D) as a text of one token."""
    tokens = pseudo_caption[:, None]
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    return TextEmbedding(tokens, mask, pseudo_caption)


def choose_conditions(
    text: TextEmbedding, pseudo_caption: Tensor, null: TextEmbedding, choice: Tensor
) -> TextEmbedding:
    """Per sample the text, the implicit caption or nothing, by choice (B,) of 0, 1, 2.

    An implicit condition is one token with the rest masked. null: one row, as long.
    """
    first = torch.arange(text.tokens.shape[1], device=choice.device) == 0
    implicit_tokens = pseudo_caption[:, None] * first[:, None].to(pseudo_caption.dtype)
    is_implicit = (choice == IMPLICIT).view(-1, 1, 1)
    is_null = (choice == NULL).view(-1, 1, 1)
    tokens = torch.where(is_implicit, implicit_tokens, text.tokens)
    tokens = torch.where(is_null, null.tokens, tokens)
    mask = torch.where(is_implicit[..., 0], first[None], text.mask)
    mask = torch.where(is_null[..., 0], null.mask, mask)
    return TextEmbedding(tokens, mask, text.pooled)


class ImplicitCaptioner(nn.Module):
    """Two linear layers from image to text space, 0.3 M parameters at 512 -> 768 (Table 3)."""

    def __init__(self, image_width: int, text_width: int, hidden_width: int = 256) -> None:
        super().__init__()
        self.project = nn.Sequential(
            nn.Linear(image_width, hidden_width), nn.GELU(), nn.Linear(hidden_width, text_width)
        )

    def forward(self, image_embedding: Tensor) -> Tensor:
        """One pseudo-caption vector per image, (B, D_text), from (B, D_image)."""
        return self.project(image_embedding)


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
