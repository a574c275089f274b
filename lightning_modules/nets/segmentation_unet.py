"""The U-Net of segmentation-models-pytorch, also on a timm encoder with known weights."""

from collections.abc import Sequence

import segmentation_models_pytorch as smp
from segmentation_models_pytorch.base import SegmentationHead
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.nets.image_encoder import PixelStatistics, read_timm, such_as, timm_name

ENCODER_STRIDE = 32
DECODER_CHANNELS = (256, 128, 64, 32, 16)


class SegmentationUnet(smp.Unet):
    """smp's U-Net, whose logits come at the size of the image.

    encoder_name: one of smp's, or "" for the timm net that known `weights` fit. It starts at
    random, or from `weights` as stage 2's encoder does (`known_weights.py`), which are timm's: with
    them the encoder is timm's too, and pixels are normalised as timm says for it. decoder_channels:
    each block doubles the side of the maps, from stride 32 on; what is left is interpolated.
    Raises ValueError for an encoder that is not known.
    """

    def __init__(
        self,
        encoder_name: str,
        weights: str,
        class_count: int,
        decoder_channels: Sequence[int] = DECODER_CHANNELS,
    ) -> None:
        if weights:
            encoder_name = "tu-" + timm_name(encoder_name.removeprefix("tu-"), weights)
        left_out = len(DECODER_CHANNELS) - len(decoder_channels)
        if not 0 <= left_out < len(DECODER_CHANNELS):
            raise ValueError(
                f"decoder_channels are {tuple(decoder_channels)}: expected 1 to "
                f"{len(DECODER_CHANNELS)} numbers"
            )
        channels = (*decoder_channels, *[decoder_channels[-1]] * left_out)
        try:
            super().__init__(
                encoder_name, encoder_weights=None, classes=class_count, decoder_channels=channels
            )
        except (KeyError, RuntimeError, ValueError) as error:
            # smp's own words list all that it knows.
            name = encoder_name.removeprefix("tu-")
            raise ValueError(
                f"encoder_name is {name!r}: expected an encoder of segmentation_models_pytorch, or "
                f"with weights a timm net{such_as(name, smp.encoders.get_encoder_names())}"
            ) from error
        self.encoder_name, self.weights = encoder_name, weights
        self.decoder.blocks = self.decoder.blocks[: len(decoder_channels)]
        self.head_width, self.upsampling = decoder_channels[-1], 2**left_out
        self.pixels = PixelStatistics(self.encoder.model) if weights else nn.Identity()

    def set_class_count(self, class_count: int) -> None:
        """Begins anew with a head for so many classes."""
        self.segmentation_head = SegmentationHead(self.head_width, class_count)

    def read_weights(self) -> None:
        """Reads the encoder's weights, where some are named; FileNotFoundError, or ValueError."""
        if self.weights:
            read_timm(self.encoder.model, self.weights)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K+1, H, W) of image (B, 3, H, W) in [-1, 1], sides multiples of 32."""
        return self.find(image)[0]

    def find(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """The logits, and the encoder's last map (B, C, H/32, W/32)."""
        maps = self.encoder(self.pixels(image))
        logits = self.segmentation_head(self.decoder(maps))
        if self.upsampling > 1:
            logits = functional.interpolate(
                logits, scale_factor=self.upsampling, mode="bilinear", align_corners=False
            )
        return logits, maps[-1]
