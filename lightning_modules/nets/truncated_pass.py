"""diffusers' nets run up to their last tapped block and no further (docs/paper.md, row 14).

A tap is the input of a stage's last residual block, in the U-Net after the skip is joined. Own
loops over the library's blocks, so that a compiler sees one graph: neither hooks nor an exception
end the pass. What is done with the maps is in `diffusion_features.py`.
"""

from collections.abc import Iterable
from typing import TypeAlias

import torch
from diffusers import AutoencoderKL, UNet2DConditionModel
from diffusers.models.resnet import ResnetBlock2D
from diffusers.models.unets.unet_2d_blocks import (
    CrossAttnUpBlock2D,
    DownEncoderBlock2D,
    UpBlock2D,
    UpDecoderBlock2D,
)
from torch import Tensor, nn

UpStage: TypeAlias = UpBlock2D | CrossAttnUpBlock2D
Stage: TypeAlias = UpStage | DownEncoderBlock2D | UpDecoderBlock2D
Text = dict[str, Tensor]


def unet_maps(
    unet: UNet2DConditionModel,
    z_t: Tensor,
    library_time: Tensor,
    context: Tensor,
    context_mask: Tensor,
) -> list[Tensor]:
    """The inputs of each up stage's last residual block, coarse to fine: (B, C_i, h_i, w_i).

    z_t: (B, c, h, w), sides multiples of the coarsest map's stride; library_time: (B,) int64 in
    0..T-1; context: (B, L, D), context_mask: (B, L) bool. Nothing after the last input is
    computed: 8 % of SD-1.5's work.
    """
    emb = unet.time_embedding(unet.get_time_embed(z_t, library_time))
    # The library's own bias for masked words: the sums must agree in every bit.
    bias = (1 - context_mask.to(z_t.dtype)) * -10000.0
    text = {"encoder_hidden_states": context, "encoder_attention_mask": bias[:, None]}
    hidden = unet.conv_in(z_t)
    skips = [hidden]
    for stage in unet.down_blocks:
        hidden, outputs = stage(hidden, emb, **text)
        skips.extend(outputs)
    hidden = unet.mid_block(hidden, emb, **text)
    maps = []
    *coarse, finest = unet.up_blocks
    for stage in coarse:
        maps.append(_input_of_last(stage, hidden, skips, emb, text))
        hidden = _through(stage, -1, maps[-1], emb, text)
        for double in stage.upsamplers:
            hidden = double(hidden)
    return [*maps, _input_of_last(finest, hidden, skips, emb, text)]


def encoder_maps(vae: AutoencoderKL, image: Tensor) -> tuple[Tensor, list[Tensor]]:
    """The latents' mean, unscaled, and the inputs of the last blocks of the last two stages.

    image: (B, 3, H, W) in [-1, 1]; the maps go from fine to coarse.
    """
    encoder, maps = vae.encoder, []
    hidden = encoder.conv_in(image)
    for stage in encoder.down_blocks[:-2]:
        hidden = stage(hidden)
    for stage in encoder.down_blocks[-2:]:
        *first, last = stage.resnets
        hidden = _in_turn(first, hidden)
        maps.append(hidden)
        hidden = last(hidden, None)
        for halve in stage.downsamplers or ():
            hidden = halve(hidden)
    hidden = encoder.conv_act(encoder.conv_norm_out(encoder.mid_block(hidden)))
    mean, _ = vae.quant_conv(encoder.conv_out(hidden)).chunk(2, dim=1)
    return mean, maps


def decoder_maps(vae: AutoencoderKL, z: Tensor) -> list[Tensor]:
    """The inputs of the last blocks of the first two stages, coarse to fine; no image is decoded.

    z: (B, c, h, w) unscaled latents. A quarter of the whole decoder's work.
    """
    hidden = vae.decoder.conv_in(vae.post_quant_conv(z))
    first_stage, second_stage = vae.decoder.up_blocks[:2]
    *first, last = first_stage.resnets
    coarse = _in_turn(first, vae.decoder.mid_block(hidden))
    hidden = last(coarse, None)
    for double in first_stage.upsamplers:
        hidden = double(hidden)
    return [coarse, _in_turn(second_stage.resnets[:-1], hidden)]


def tapped_blocks(stages: Iterable[Stage]) -> list[ResnetBlock2D]:
    """The last residual block of each stage; the taps are their inputs."""
    return [stage.resnets[-1] for stage in stages]


def _input_of_last(
    stage: UpStage, hidden: Tensor, skips: list[Tensor], emb: Tensor, text: Text
) -> Tensor:
    """What an up stage's last block reads; takes the stage's skips from the end of `skips`."""
    for index in range(len(stage.resnets) - 1):
        hidden = _through(stage, index, torch.cat([hidden, skips.pop()], dim=1), emb, text)
    return torch.cat([hidden, skips.pop()], dim=1)


def _through(stage: UpStage, index: int, hidden: Tensor, emb: Tensor, text: Text) -> Tensor:
    """The output of one residual block and of the attention after it, where the stage has some."""
    hidden = stage.resnets[index](hidden, emb)
    if isinstance(stage, CrossAttnUpBlock2D):
        hidden = stage.attentions[index](hidden, return_dict=False, **text)[0]
    return hidden


def _in_turn(blocks: Iterable[nn.Module], hidden: Tensor) -> Tensor:
    for block in blocks:
        hidden = block(hidden, None)
    return hidden
