"""The denoising U-Net, SD-1.5-shaped and randomly initialised (section 4.3, eq. 13-17)."""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from diffusers.models.embeddings import TimestepEmbedding
from torch import Tensor, nn

from lightning_modules.equations.embedding import embed_time
from lightning_modules.nets.truncated_pass import tapped_blocks, unet_maps
from lightning_modules.weights_io import (
    RANDOM,
    is_checkpoint,
    load_from_hub,
    load_part,
    read_pretrained,
)

OWN_UNET = "diffusion.denoiser.unet."  # of a stage 1's weights
PRINTED_WIDTH = 256
HE_GAIN = 2**0.5
CROSS = {True: "CrossAttn", False: ""}  # of the library's names for stages


class Denoiser(nn.Module):
    """U-Net that predicts noise from noised latents, time and text; 859,520,964 parameters at the
    defaults with 4 latent channels and 768-wide text (section 4.3).

    `attention` says at which stages cross-attention sits, finest first. `time_embedding` is
    `sd15` (320 -> 1280 -> 1280) or `paper` (256 -> 1024 -> 1280, eq. 17 to the letter). `init` is
    `random` (He by `conv_gain` and Xavier, `zero_init` for the output layers), a hub name or
    folder whose `unet` the training starts from (section 6.2), or a run directory of another stage
    1. Raises ValueError for lists of other lengths.

    Speed, none of which changes the result: `sdpa` attends without keeping the attention maps;
    `gradient_checkpointing` trades a third more work for memory (section 5.6), which `sdpa` makes
    needless at batch 32; `channels_last` and `compile` follow the device where they are None.
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
        conv_gain: float = HE_GAIN,
        init: str = RANDOM,
        sdpa: bool = True,
        gradient_checkpointing: bool = False,
        channels_last: bool | None = None,
        compile: bool | None = None,
    ) -> None:
        super().__init__()
        self.init, self.channels_last, self.compiles = init, channels_last, compile
        if len(attention) != len(block_channels):
            raise ValueError(
                f"denoiser got {len(block_channels)} block_channels and {len(attention)} attention "
                "flags: expected one flag per stage"
            )
        self.unet = UNet2DConditionModel(
            in_channels=latent_channels,
            out_channels=latent_channels,
            block_out_channels=block_channels,
            down_block_types=[f"{CROSS[on]}DownBlock2D" for on in attention],
            up_block_types=[f"{CROSS[on]}UpBlock2D" for on in reversed(attention)],
            layers_per_block=layers_per_block,
            cross_attention_dim=text_width,
            # diffusers calls the number of heads `attention_head_dim` here.
            attention_head_dim=attention_heads,
            norm_num_groups=norm_groups,
        )
        if time_embedding == "paper":
            self.unet.time_proj = PrintedTime()
            width = 4 * block_channels[0]
            self.unet.time_embedding = TimestepEmbedding(PRINTED_WIDTH, 1024, out_dim=width)
        elif time_embedding != "sd15":
            raise ValueError(f"time_embedding is {time_embedding!r}: expected sd15 or paper")
        self.map_channels = [block.in_channels for block in tapped_blocks(self.unet.up_blocks)]
        self._unet_maps = unet_maps
        initialise(self.unet, zero_init=zero_init, conv_gain=conv_gain)
        if not sdpa:
            self.unet.set_attn_processor(AttnProcessor())
        if gradient_checkpointing:
            self.unet.enable_gradient_checkpointing()

    def load(self) -> None:
        """Starts from the weights that `init` names; ValueError when they do not fit."""
        if self.init == RANDOM:
            return
        if is_checkpoint(Path(self.init)):
            return load_part(self.unet, OWN_UNET, read_pretrained(self.init))
        named = load_from_hub(UNet2DConditionModel, self.init, "unet", like=self.unet)
        self.unet.load_state_dict(named.state_dict())

    def speed_up(self, device: torch.device) -> None:
        """Lays out and compiles the U-Net for a device; to be called before it is wrapped.

        Where the settings are None, both are done on CUDA alone: on a CPU, channels_last was
        0.95 times as fast and compiling takes longer than a tiny run.
        """
        on_cuda = device.type == "cuda"
        if on_cuda if self.channels_last is None else self.channels_last:
            self.unet.to(memory_format=torch.channels_last)
        is_compiled = self.unet._compiled_call_impl is not None
        if (on_cuda if self.compiles is None else self.compiles) and not is_compiled:
            self.unet.compile()
            self._unet_maps = torch.compile(unet_maps)

    def forward(self, z_t: Tensor, t: Tensor, context: Tensor, context_mask: Tensor) -> Tensor:
        """Predicted noise (B, c, h, w) from latents z_t, time t (B,) in 1..T and text (B, L, D)."""
        output = self.unet(
            z_t,
            to_library_time(t),
            encoder_hidden_states=context,
            encoder_attention_mask=context_mask,
        )
        return output.sample

    def maps(self, z_t: Tensor, t: Tensor, context: Tensor, context_mask: Tensor) -> list[Tensor]:
        """The up stages' maps, coarse to fine and `map_channels` wide; no noise is predicted.

        The inputs are those of `forward`.
        """
        return self._unet_maps(self.unet, z_t, to_library_time(t), context, context_mask)


def to_library_time(t: Tensor) -> Tensor:
    """The library's time: it counts from 0, so the paper's index loses its one, nowhere else."""
    return t - 1


class PrintedTime(nn.Module):
    """The sinusoid of time as the paper prints it, 256 wide (eq. 17)."""

    def forward(self, library_time: Tensor) -> Tensor:
        """The sinusoids (B, 256) of the library's times (B,) in 0..T-1, which are ours less one."""
        return embed_time(library_time + 1, PRINTED_WIDTH)


def initialise(unet: UNet2DConditionModel, *, zero_init: bool, conv_gain: float) -> None:
    """He for convolutions, Xavier for linear layers, zero for outputs (docs/paper.md, row 7)."""
    for module in unet.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
            module.weight.data.mul_(conv_gain)
        elif isinstance(module, nn.Linear):
            nn.init.xavier_uniform_(module.weight)
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    if not zero_init:
        return
    outputs = [module.proj_out for module in unet.modules() if hasattr(module, "proj_out")]
    for module in (unet.conv_out, *outputs):
        nn.init.zeros_(module.weight)
