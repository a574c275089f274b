"""Holds the mask generator's initialisation against the stock model, and its shapes."""

import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig, Mask2FormerModel
from transformers.models.mask2former import modeling_mask2former as mask2former

from lightning_modules.nets.mask_generator import MaskGenerator
from tests.lightning_modules.small_parts import small_generator

DEFORMABLE = mask2former.Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention


def offset_biases(module: nn.Module) -> list[Tensor]:
    parts = [part for part in module.modules() if isinstance(part, DEFORMABLE)]
    return [part.sampling_offsets.bias for part in parts]


def test_deformable_offsets_start_as_in_the_stock_model() -> None:
    stock = Mask2FormerModel(
        Mask2FormerConfig(num_attention_heads=4, encoder_layers=1, decoder_layers=3)
    )
    (ours,), (theirs,) = offset_biases(small_generator()), offset_biases(stock)
    assert (ours != 0).any()
    torch.testing.assert_close(ours, theirs)


def test_level_embedding_is_drawn_and_not_left_in_memory(seed: int) -> None:
    embedding = small_generator().pixel_decoder.level_embed
    assert torch.isfinite(embedding).all()
    assert 0.7 < embedding.std().item() < 1.3


def test_images_of_a_batch_do_not_mix(seed: int) -> None:
    generator = small_generator().eval()
    maps = [torch.randn(2, 32, 64 // stride, 64 // stride) for stride in (4, 8, 16, 32)]
    alone = generator([each[1:] for each in maps])
    torch.testing.assert_close(generator(maps).masks[:, 1:], alone.masks, rtol=1e-3, atol=1e-4)


def test_every_weight_of_the_paper_scale_is_accounted_for() -> None:
    with torch.device("meta"):
        generator = MaskGenerator()
    assert sum(weight.numel() for weight in generator.parameters()) == 19_773_632
