"""Holds how the boxes of stage 1 fit together: schedule, captioner, conditions and the rest."""

import pytest
import torch

from lightning_modules.nets.autoencoder import KlAutoencoder
from lightning_modules.nets.diffusion_model import (
    IMPLICIT,
    NULL,
    TEXT,
    DiffusionModel,
    ImplicitCaptioner,
    NoiseSchedule,
    choose_conditions,
)
from lightning_modules.nets.text_encoder import HashedTextEncoder, embed_with_null
from tests.lightning_modules.small_parts import small_denoiser, small_tower

ENCODER = HashedTextEncoder(8)
CAPTIONS = ["steel with a deep crack", "tile", "glass"]
PSEUDO_CAPTION = torch.arange(24.0).view(3, 8) + 1


def test_widths_come_from_the_parts_and_what_is_frozen_from_their_kind() -> None:
    vae = KlAutoencoder(block_channels=(8, 8), norm_groups=4, latent_channels=6)
    model = DiffusionModel(vae, HashedTextEncoder(24), small_tower(), denoiser=small_denoiser)
    assert model.denoiser.unet.config.in_channels == 6
    assert model.denoiser.unet.config.cross_attention_dim == 24
    assert model.captioner(torch.zeros(1, model.image_encoder.width)).shape == (1, 24)
    learns = {name.split(".")[0] for name, w in model.named_parameters() if w.requires_grad}
    assert learns == {"image_encoder", "captioner", "denoiser"}


def test_captioner_has_0_3_million_weights_at_the_papers_widths() -> None:
    captioner = ImplicitCaptioner(512, 768)
    assert sum(weight.numel() for weight in captioner.parameters()) == 328_704


def test_each_sample_sees_its_text_its_pseudo_caption_or_the_empty_text() -> None:
    text, null = embed_with_null(ENCODER, CAPTIONS)
    pseudo = PSEUDO_CAPTION.clone().requires_grad_()
    choice = torch.tensor([IMPLICIT, TEXT, NULL])
    result = choose_conditions(text, pseudo, null, choice)
    assert result.tokens[0, 0].equal(PSEUDO_CAPTION[0]) and result.tokens[1].equal(text.tokens[1])
    assert result.tokens[2].equal(null.tokens[0]) and result.mask[1].equal(text.mask[1])
    assert result.mask[0].tolist() == result.mask[2].tolist() == [True] + 4 * [False]
    assert result.pooled.equal(text.pooled)
    result.tokens.sum().backward()
    assert pseudo.grad is not None and pseudo.grad.sum(1).tolist() == [8, 0, 0]


def test_default_schedule_is_table_2s_exact_to_float32() -> None:
    betas = torch.linspace(1e-4, 2e-2, 1000, dtype=torch.float64)
    expected = torch.cumprod(1 - betas, 0).float()
    torch.testing.assert_close(NoiseSchedule().alpha_bar[1:], expected, rtol=1e-6, atol=0)


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="'square': expected linear or cosine"):
        NoiseSchedule(kind="square")
