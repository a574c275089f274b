"""The mask generator: transformers' Mask2Former without its backbone (docs/paper.md, row 15)."""

from dataclasses import dataclass
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former import modeling_mask2former as mask2former


@dataclass(slots=True)
class MaskQueries:
    """masks: (S, B, Q, h, w) logits of S prediction sets, the last is the answer;
    queries: (S, B, Q, D) normalised query states; mask_features: (B, D, h, w).
    """

    masks: Tensor
    queries: Tensor
    mask_features: Tensor

    def last(self) -> "MaskQueries":
        """The last prediction set alone, which is the answer."""
        return MaskQueries(self.masks[-1:], self.queries[-1:], self.mask_features)


class MaskGenerator(nn.Module):
    """Deformable pixel decoder and masked-attention decoder: a pyramid in, masks out.

    `strides` are those of the pyramid, fine to coarse; masks come at the finest. At the defaults
    (100 queries, 9 layers, Table 3) it has 19,773,632 parameters; the paper's 45 M are those of
    `paper45m.yaml`: 44,061,120 at width 384, and 888,961 of the class head.
    """

    def __init__(
        self,
        width: int = 256,
        mask_queries: int = 100,
        transformer_layers: int = 9,
        pixel_decoder_layers: int = 6,
        attention_heads: int = 8,
        feedforward_width: int = 2048,
        pixel_feedforward_width: int = 1024,
        strides: tuple[int, ...] = (4, 8, 16, 32),
    ) -> None:
        super().__init__()
        self.width, self.strides = width, strides
        config = Mask2FormerConfig(
            feature_size=width,
            mask_feature_size=width,
            hidden_dim=width,
            num_queries=mask_queries,
            # The library counts the first prediction, before any layer, as a layer.
            decoder_layers=transformer_layers + 1,
            encoder_layers=pixel_decoder_layers,
            num_attention_heads=attention_heads,
            dim_feedforward=feedforward_width,
            encoder_feedforward_dim=pixel_feedforward_width,
            feature_strides=list(strides),
            common_stride=strides[0],
            dropout=0.0,
        )
        channels = [width] * len(strides)
        self.pixel_decoder = mask2former.Mask2FormerPixelDecoder(config, channels)
        self.transformer = mask2former.Mask2FormerTransformerModule(width, config)
        initialise(self, config)

    def forward(self, pyramid: list[Tensor]) -> MaskQueries:
        """Mask queries from maps (B, width, H / s, W / s), one per stride, fine to coarse."""
        pixels = self.pixel_decoder(pyramid)
        decoded = self.transformer(list(pixels.multi_scale_features), pixels.mask_features)
        queries = torch.stack(decoded.intermediate_hidden_states).transpose(1, 2)
        masks = torch.stack(decoded.masks_queries_logits)
        return MaskQueries(masks, queries, pixels.mask_features)


@torch.no_grad()
def initialise(generator: nn.Module, config: Mask2FormerConfig) -> None:
    """Mask2Former's own initialisation, applied by hand.

    Outside its stock model the library skips it without a word: deformable offsets would start
    with bias 0 and the level embedding in uninitialised memory.
    """
    proper = (
        mask2former.Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention,
        mask2former.Mask2FormerMaskedAttentionDecoderLayer,
        mask2former.Mask2FormerPixelDecoder,
        mask2former.Mask2FormerPredictionBlock,
        mask2former.Mask2FormerTransformerModule,
        nn.Embedding,
    )
    holder = SimpleNamespace(config=config)
    for module in generator.modules():
        if isinstance(module, proper):
            mask2former.Mask2FormerPreTrainedModel._init_weights(holder, module)
