"""The denoising U-Net, SD-1.5-shaped and randomly initialised (section 4.3, eq. 13-17)."""

from diffusers import UNet2DConditionModel
from diffusers.models.embeddings import TimestepEmbedding, Timesteps
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn


class Denoiser(nn.Module):
    """U-Net that predicts noise from noised latents, time and text; 859,520,964 parameters at the
    defaults with 4 latent channels and 768-wide text (section 4.3).

    `attention` says at which stages cross-attention sits, finest first. `time_embedding` is
    `sd15` (320 -> 1280 -> 1280) or `paper` (256 -> 1024 -> 1280, eq. 17). Raises ValueError for
    lists of different length.
    """

    def __init__(
        self,
        latent_channels: int,
        text_width: int,
        block_channels: tuple[int, ...] = (320, 640, 1280, 1280),
        attention: tuple[bool, ...] = (True, True, True, False),
        layers_per_block: int = 2,
        attention_heads: int = 8,
        norm_groups: int = 32,
        time_embedding: str = "sd15",
        zero_init: bool = True,
    ) -> None:
        super().__init__()
        if len(attention) != len(block_channels):
            raise ValueError(
                f"denoiser got {len(block_channels)} block_channels and {len(attention)} attention "
                "flags: expected one flag per stage"
            )
        down = tuple("CrossAttnDownBlock2D" if on else "DownBlock2D" for on in attention)
        up = tuple("CrossAttnUpBlock2D" if on else "UpBlock2D" for on in reversed(attention))
        self.unet = UNet2DConditionModel(
            in_channels=latent_channels,
            out_channels=latent_channels,
            block_out_channels=block_channels,
            down_block_types=down,
            up_block_types=up,
            layers_per_block=layers_per_block,
            cross_attention_dim=text_width,
            # diffusers calls the number of heads `attention_head_dim` here.
            attention_head_dim=attention_heads,
            norm_num_groups=norm_groups,
        )
        if time_embedding == "paper":
            self.unet.time_proj = Timesteps(256, True, 0)
            width = 4 * block_channels[0]
            self.unet.time_embedding = TimestepEmbedding(256, 1024, out_dim=width)
        elif time_embedding != "sd15":
            raise ValueError(f"time_embedding is {time_embedding!r}: expected sd15 or paper")
        initialise(self.unet, zero_init=zero_init)

    def forward(self, z_t: Tensor, t: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        """Predicted noise (B, c, h, w) from latents z_t, time t (B,) in 1..T and text (B, L, D).

        The library counts time from 0: the paper's index loses its one here and nowhere else.
        """
        output = self.unet(
            z_t, t - 1, encoder_hidden_states=context, encoder_attention_mask=context_mask
        )
        return output.sample


def initialise(unet: UNet2DConditionModel, *, zero_init: bool) -> None:
    """He for convolutions, Xavier for linear layers, zero for outputs (section 5.5, NOTES 7)."""
    for module in unet.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    if not zero_init:
        return
    outputs = [module.proj_out for module in unet.modules() if hasattr(module, "proj_out")]
    for module in (unet.conv_out, *outputs):
        nn.init.zeros_(module.weight)


def tap_modules(denoiser: Denoiser) -> list[ResnetBlock2D]:
    """The last residual block of each up stage, coarse to fine; their inputs are the features."""
    return [block.resnets[-1] for block in denoiser.unet.up_blocks]


def count_parameters(module: nn.Module) -> tuple[int, int]:
    """The numbers of trainable and of frozen parameters."""
    trainable = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return trainable, sum(p.numel() for p in module.parameters()) - trainable
