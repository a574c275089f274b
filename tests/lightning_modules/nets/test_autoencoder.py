"""Holds the DCT against scipy and its own inverse, and the KL-VAE's shapes and scale."""

import numpy as np
import pytest
import torch
from scipy.fft import dctn
from torch import Tensor

from lightning_modules.nets.autoencoder import DctAutoencoder, zigzag
from tests.lightning_modules.small_parts import small_vae


def measured(image: Tensor) -> DctAutoencoder:
    autoencoder = DctAutoencoder()
    autoencoder.measure(image)
    return autoencoder


def test_luma_coefficients_equal_scipy(seed: int) -> None:
    image = torch.rand(1, 3, 8, 8) * 2 - 1
    luma = (image[0] * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(0)
    expected = dctn(luma.numpy(), norm="ortho")
    latents = DctAutoencoder().encode(image)[0, :22, 0, 0]
    assert np.allclose(latents, [expected[place] for place in zigzag(8)[:22]], atol=1e-5)


def test_smooth_image_comes_back_above_35_db() -> None:
    y, x = torch.meshgrid(torch.arange(64), torch.arange(64), indexing="ij")
    waves = [torch.sin(x / 9 + k) * torch.cos(y / 7 - k) for k in range(6)]
    image = 0.8 * torch.stack(waves).view(2, 3, 64, 64)
    autoencoder = measured(image)
    error = (autoencoder.decode(autoencoder.encode(image)) - image).square().mean()
    assert 10 * torch.log10(4 / error) > 35


@pytest.mark.parametrize("grey", [-1.0, 0.0, 1.0])
def test_grey_images_have_finite_latents_and_come_back(grey: float) -> None:
    image = torch.full((2, 3, 16, 16), grey)
    autoencoder = measured(image)
    assert autoencoder.encode(image).abs().max() < 1
    back = autoencoder.decode(autoencoder.encode(image))
    torch.testing.assert_close(back, image, rtol=0, atol=1e-3)


def test_vae_latents_are_scaled_by_its_own_factor() -> None:
    vae, image = small_vae(), torch.randn(1, 3, 16, 16)
    plain = vae.vae.encode(image).latent_dist.mode()
    torch.testing.assert_close(vae.encode(image), 0.18215 * plain)
