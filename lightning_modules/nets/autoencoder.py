"""Image to latent and back (eq. 11): a block-DCT that needs no weights, and the SD KL-VAE."""

import math
from typing import NamedTuple

import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.nets.truncated_pass import decoder_maps, encoder_maps, tapped_blocks
from lightning_modules.weights_io import load_from_hub

# JPEG's full-range YCbCr, without offset: luma, blue and red difference of RGB in [-1, 1].
YCBCR = ((0.299, 0.587, 0.114), (-0.168736, -0.331264, 0.5), (0.5, -0.418688, -0.081312))


def zigzag(block_px: int) -> list[tuple[int, int]]:
    """The (row, column) frequencies of a block in JPEG's order, lowest first."""
    places = [(row, column) for row in range(block_px) for column in range(block_px)]
    return sorted(places, key=lambda p: (p[0] + p[1], p[0] if (p[0] + p[1]) % 2 else p[1]))


def cosine_basis(block_px: int, count: int) -> Tensor:
    """The first `count` orthonormal DCT-II patterns in zigzag order, (count, block, block)."""
    place = torch.arange(block_px, dtype=torch.float64) + 0.5
    waves = torch.stack([torch.cos(math.pi / block_px * k * place) for k in range(block_px)])
    waves *= math.sqrt(2 / block_px)
    waves[0] /= math.sqrt(2)
    order = zigzag(block_px)[:count]
    return torch.stack([torch.outer(waves[row], waves[column]) for row, column in order]).float()


class Tap(NamedTuple):
    """The shape of a map inside an autoencoder: its channels, and pixels per cell."""

    channels: int
    stride: int


class Autoencoder(nn.Module):
    """What the system needs of an autoencoder: latents of about unit variance, and back.

    `encoder_taps` and `decoder_taps` describe the maps inside that stage 2 may read as features.
    """

    latent_channels: int
    stride: int
    encoder_taps: tuple[Tap, ...] = ()
    decoder_taps: tuple[Tap, ...] = ()

    mean: Tensor
    deviation: Tensor
    measured: Tensor

    def add_scale(self) -> None:
        """Buffers of each channel's mean and deviation, for latents that are not scaled yet."""
        self.register_buffer("mean", torch.zeros(self.latent_channels))
        self.register_buffer("deviation", torch.ones(self.latent_channels))
        self.register_buffer("measured", torch.tensor(False))

    def fit_scale(self, latents: Tensor, *, smallest_deviation: float) -> None:
        """Takes mean and deviation from latents (B, c, h, w).

        Grey or blank images leave a channel almost still: the floor keeps it from being blown up.
        """
        self.mean.copy_(latents.mean(dim=(0, 2, 3)))
        self.deviation.copy_(latents.std(dim=(0, 2, 3)).clamp(min=smallest_deviation))
        self.measured.fill_(True)

    def to_unit_variance(self, latents: Tensor) -> Tensor:
        """Latents (B, c, h, w) by the scale."""
        return (latents - self.mean.view(-1, 1, 1)) / self.deviation.view(-1, 1, 1)

    def from_unit_variance(self, z: Tensor) -> Tensor:
        """Back again."""
        return z * self.deviation.view(-1, 1, 1) + self.mean.view(-1, 1, 1)

    def load(self) -> None:
        """Reads the weights; nothing where a formula is all."""

    def await_weights(self) -> None:
        """Makes ready for a checkpoint that brings all weights; reads what it cannot bring."""
        self.load()

    def measure(self, image: Tensor) -> None:
        """Fits fixed scales to image (B, 3, H, W) in [-1, 1]; nothing where weights have them."""

    def encode(self, image: Tensor) -> Tensor:
        """Latents (B, c, H / stride, W / stride) from image (B, 3, H, W) in [-1, 1]."""
        raise NotImplementedError

    def decode(self, z: Tensor) -> Tensor:
        """Image (B, 3, H, W), clipped to [-1, 1], from latents (B, c, h, w)."""
        raise NotImplementedError

    def encode_with_maps(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What `encode` gives, and the maps on the way that `encoder_taps` describes."""
        return self.encode(image), []

    def maps_of_decoding(self, z: Tensor) -> list[Tensor]:
        """The maps that `decoder_taps` describes, on the way to the image, which is not made."""
        return []


class DctAutoencoder(Autoencoder):
    """Latents from a fixed 8x8 block DCT: 22 luma and 5 + 5 chroma coefficients, no weights.

    Each coefficient is standardised by the mean and deviation that `measure` takes from training
    images, since they differ by two orders of magnitude. Stands in for the VAE at tiny scale.
    """

    kernels: Tensor
    inverse_kernels: Tensor

    def __init__(self, luma_coefficients: int = 22, chroma_coefficients: int = 5) -> None:
        super().__init__()
        counts = (luma_coefficients, chroma_coefficients, chroma_coefficients)
        self.stride = 8
        self.latent_channels = sum(counts)
        mixing = torch.tensor(YCBCR)
        for name, planes in (("kernels", mixing), ("inverse_kernels", torch.linalg.inv(mixing).T)):
            kernels = [
                planes[plane].view(1, 3, 1, 1) * cosine_basis(self.stride, count)[:, None]
                for plane, count in enumerate(counts)
            ]
            self.register_buffer(name, torch.cat(kernels), persistent=False)
        self.add_scale()

    def coefficients(self, image: Tensor) -> Tensor:
        """The coefficients (B, c, H/8, W/8) of image (B, 3, H, W) as they are."""
        return functional.conv2d(image, self.kernels, stride=self.stride)

    @torch.no_grad()
    def measure(self, image: Tensor) -> None:
        """Takes mean and deviation of each coefficient from image (B, 3, H, W) in [-1, 1]."""
        self.fit_scale(self.coefficients(image), smallest_deviation=0.02)

    def encode(self, image: Tensor) -> Tensor:
        """Latents (B, c, H/8, W/8) of about unit variance from image (B, 3, H, W) in [-1, 1]."""
        return self.to_unit_variance(self.coefficients(image))

    def decode(self, z: Tensor) -> Tensor:
        """Image (B, 3, H, W), clipped to [-1, 1], from latents (B, c, h, w)."""
        kernels = self.inverse_kernels
        return functional.conv_transpose2d(
            self.from_unit_variance(z), kernels, stride=self.stride
        ).clamp(-1, 1)


class KlAutoencoder(Autoencoder):
    """The Stable Diffusion KL-VAE (83.7 M, 4 channels, stride 8) by hub name or local folder."""

    def __init__(
        self,
        pretrained: str = "stable-diffusion-v1-5/stable-diffusion-v1-5",
        subfolder: str = "vae",
        block_channels: tuple[int, ...] = (128, 256, 512, 512),
        layers_per_block: int = 2,
        latent_channels: int = 4,
        norm_groups: int = 32,
    ) -> None:
        super().__init__()
        self.pretrained, self.subfolder = pretrained, subfolder
        self.vae = AutoencoderKL(
            block_out_channels=block_channels,
            down_block_types=("DownEncoderBlock2D",) * len(block_channels),
            up_block_types=("UpDecoderBlock2D",) * len(block_channels),
            layers_per_block=layers_per_block,
            latent_channels=latent_channels,
            norm_num_groups=norm_groups,
        )
        self.latent_channels = latent_channels
        self.stride = 2 ** (len(block_channels) - 1)
        down = tapped_blocks(self.vae.encoder.down_blocks[-2:])
        up = tapped_blocks(self.vae.decoder.up_blocks[:2])
        fine, coarse = self.stride // 2, self.stride
        self.encoder_taps = Tap(down[0].in_channels, fine), Tap(down[1].in_channels, coarse)
        self.decoder_taps = Tap(up[0].in_channels, coarse), Tap(up[1].in_channels, fine)

    def load(self) -> None:
        """Reads the weights; ValueError when name, folder or shapes do not fit."""
        self.vae = load_from_hub(AutoencoderKL, self.pretrained, self.subfolder, like=self.vae)

    def encode(self, image: Tensor) -> Tensor:
        """Scaled posterior mean (B, 4, H/8, W/8) from image (B, 3, H, W) in [-1, 1]."""
        mean = self.vae.encode(image).latent_dist.mode()
        return mean * self.vae.config.scaling_factor

    def decode(self, z: Tensor) -> Tensor:
        """Image (B, 3, H, W), clipped to [-1, 1], from scaled latents (B, 4, h, w)."""
        return self.vae.decode(z / self.vae.config.scaling_factor).sample.clamp(-1, 1)

    def encode_with_maps(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What `encode` gives, and maps of the encoder at half and at the whole stride."""
        mean, maps = encoder_maps(self.vae, image)
        return mean * self.vae.config.scaling_factor, maps

    def maps_of_decoding(self, z: Tensor) -> list[Tensor]:
        """Maps of the decoder at the whole and at half the stride."""
        return decoder_maps(self.vae, z / self.vae.config.scaling_factor)
