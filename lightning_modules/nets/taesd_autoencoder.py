"""The TAESD family: tiny convolutional stand-ins for large VAEs, weights from local files.

The families with formulas or hub weights are in `autoencoder.py`.
"""

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.nets.autoencoder import Autoencoder, Tap
from lightning_modules.weights_io import fill, read_state_dict

WIDTH = 64
MEASURED_AT_ONCE = 8
SMALLEST_DEVIATION = 0.1  # channels have 0.3 to 1.0 on images of all kinds
# The places of the last of the three blocks of a size, whose inputs are the features.
ENCODER_TAPS, DECODER_TAPS = (5, 9, 13), (5, 10)


def convolution(inputs: int = WIDTH, outputs: int = WIDTH) -> nn.Conv2d:
    """A 3x3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def resized(*, stride: int) -> nn.Conv2d:
    """A 3x3 convolution without bias to half the size, or after doubling it."""
    return nn.Conv2d(WIDTH, WIDTH, 3, stride=stride, padding=1, bias=False)


class Block(nn.Module):
    """Three convolutions around an identity; `pooled` sees the whole map through a norm first."""

    def __init__(self, *, pooled: bool = False) -> None:
        super().__init__()
        self.conv = nn.Sequential(convolution(), nn.ReLU(), convolution(), nn.ReLU(), convolution())
        self.pool = (
            nn.Sequential(
                nn.Conv2d(WIDTH, 4 * WIDTH, 1, bias=False),
                nn.GroupNorm(4, 4 * WIDTH),
                nn.ReLU(),
                nn.Conv2d(4 * WIDTH, WIDTH, 1, bias=False),
            )
            if pooled
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, 64, h, w) from one of the same shape."""
        if self.pool is not None:
            x = x + self.pool(x)
        return functional.relu(self.conv(x) + x)


class SoftClamp(nn.Module):
    """Latents bent smoothly into (-3, 3)."""

    def forward(self, x: Tensor) -> Tensor:
        """Values in (-3, 3), those near 0 as they were."""
        return torch.tanh(x / 3) * 3


def blocks(*, pooled: bool = False) -> list[Block]:
    """The three blocks of a size."""
    return [Block(pooled=pooled) for _ in range(3)]


def inputs_at(chain: nn.Sequential, places: tuple[int, ...], x: Tensor) -> list[Tensor]:
    """What the layers at `places`, in their order, read; the layers after them do not run."""
    maps = []
    for start, end in pairwise((0, *places)):
        x = chain[start:end](x)
        maps.append(x)
    return maps


class TaesdAutoencoder(Autoencoder):
    """Latents from a tiny autoencoder, stride 8, read from the two .pth files of its family.

    The defaults are TAEF2's (32 channels, pooled middle), by which defect images come back at 25
    to 47 dB; TAESD's own are 4 and false. Each channel is standardised by the mean and deviation
    that `measure` takes from training images: TAEF2's deviations run from 0.34 to 0.97.
    """

    def __init__(
        self, encoder: str, decoder: str, latent_channels: int = 32, pooled_middle: bool = True
    ) -> None:
        super().__init__()
        self.encoder_file, self.decoder_file = Path(encoder), Path(decoder)
        self.stride = 8
        self.latent_channels = latent_channels
        self.encoder_taps = tuple(Tap(WIDTH, stride) for stride in (2, 4, 8))
        self.decoder_taps = tuple(Tap(WIDTH, stride) for stride in (8, 4))
        # The places in the two chains are the files' keys.
        self.encoder = nn.Sequential(convolution(3), Block())
        for pooled in (False, False, pooled_middle):
            self.encoder.extend([resized(stride=2), *blocks(pooled=pooled)])
        self.encoder.append(convolution(WIDTH, latent_channels))
        self.decoder = nn.Sequential(SoftClamp(), convolution(latent_channels), nn.ReLU())
        for pooled in (pooled_middle, False, False):
            layers = nn.Upsample(scale_factor=2), resized(stride=1)
            self.decoder.extend([*blocks(pooled=pooled), *layers])
        self.decoder.extend([Block(), convolution(WIDTH, 3)])
        self.add_scale()
        self._loaded = False

    def load(self) -> None:
        """Reads both files; FileNotFoundError, or ValueError when they are damaged or others."""
        fill(self.encoder, read_state_dict(self.encoder_file), self.encoder_file)
        fill(self.decoder, read_state_dict(self.decoder_file), self.decoder_file)
        self._loaded = True

    def await_weights(self) -> None:
        """Reads nothing: a checkpoint holds the weights of both files."""
        self._loaded = True

    @torch.no_grad()
    def measure(self, image: Tensor) -> None:
        """Takes mean and deviation of each channel from image (B, 3, H, W) in [-1, 1]."""
        # The first map of an image takes 16 MB at 256 px: not all images at once.
        parts = [self.encoder(self._to_unit_range(part)) for part in image.split(MEASURED_AT_ONCE)]
        self.fit_scale(torch.cat(parts), smallest_deviation=SMALLEST_DEVIATION)

    def encode(self, image: Tensor) -> Tensor:
        """Latents (B, c, H/8, W/8) of about unit variance from image (B, 3, H, W) in [-1, 1]."""
        return self.to_unit_variance(self.encoder(self._to_unit_range(image)))

    def decode(self, z: Tensor) -> Tensor:
        """Image (B, 3, H, W), clipped to [-1, 1], from latents (B, c, h, w)."""
        return (2 * self.decoder(self._net_latents(z)) - 1).clamp(-1, 1)

    def encode_with_maps(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """What `encode` gives, and maps of the encoder at strides 2, 4 and 8."""
        maps = inputs_at(self.encoder, ENCODER_TAPS, self._to_unit_range(image))
        latents = self.encoder[ENCODER_TAPS[-1] :](maps[-1])
        return self.to_unit_variance(latents), maps

    def maps_of_decoding(self, z: Tensor) -> list[Tensor]:
        """Maps of the decoder at strides 8 and 4."""
        return inputs_at(self.decoder, DECODER_TAPS, self._net_latents(z))

    def _to_unit_range(self, image: Tensor) -> Tensor:
        self._check_loaded()
        height, width = image.shape[-2:]
        if height % self.stride or width % self.stride:
            raise ValueError(
                f"image is {height} x {width} px: expected sides that are multiples of "
                f"{self.stride}, the autoencoder's stride; crop or pad it"
            )
        return (image + 1) / 2

    def _net_latents(self, z: Tensor) -> Tensor:
        self._check_loaded()
        return self.from_unit_variance(z)

    def _check_loaded(self) -> None:
        if not self._loaded:
            raise RuntimeError("the autoencoder has no weights yet: call load() first")
