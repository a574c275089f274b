"""Holds how the boxes of stage 1 fit together."""

import torch

from lightning_modules.nets.autoencoder import KlAutoencoder
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.text_encoder import HashedTextEncoder
from tests.lightning_modules.small_parts import small_denoiser, small_diffusion, small_tower


def trainable_parts(model: DiffusionModel) -> set[str]:
    return {name.split(".")[0] for name, w in model.named_parameters() if w.requires_grad}


def test_widths_come_from_the_parts() -> None:
    vae = KlAutoencoder(block_channels=(8, 8), norm_groups=4, latent_channels=6)
    model = DiffusionModel(vae, HashedTextEncoder(24), small_tower(), denoiser=small_denoiser)
    assert model.denoiser.unet.config.in_channels == 6
    assert model.denoiser.unet.config.cross_attention_dim == 24
    assert model.captioner(torch.zeros(1, model.image_encoder.width)).shape == (1, 24)


def test_stride_is_the_autoencoders_times_the_unets() -> None:
    assert small_diffusion().stride == 8 * 4


def test_autoencoder_and_text_are_frozen_the_rest_learns() -> None:
    vae = KlAutoencoder(block_channels=(8, 8), norm_groups=4)
    model = DiffusionModel(vae, HashedTextEncoder(24), small_tower(), denoiser=small_denoiser)
    assert trainable_parts(model) == {"image_encoder", "captioner", "denoiser"}


def test_latents_carry_no_gradient() -> None:
    image = torch.zeros(1, 3, 64, 64, requires_grad=True)
    assert not small_diffusion().encode(image).requires_grad


def test_pseudo_caption_is_as_wide_as_the_text() -> None:
    model = small_diffusion()
    assert model.caption(torch.zeros(2, 3, 64, 64)).shape == (2, model.text_encoder.width)
