"""Holds what the denoiser reads while features are taken: a pseudo-caption or the empty text."""

import torch

from lightning_modules.nets.diffusion_features import DiffusionFeatures, noise_at_once
from tests.lightning_modules.nets.test_diffusion_features import image
from tests.lightning_modules.small_parts import small_diffusion


def test_features_without_text_are_of_the_empty_text_and_of_no_pseudo_caption(seed: int) -> None:
    diffusion = small_diffusion()
    for weight in diffusion.denoiser.parameters():  # new attention ends in zeros and hears nothing
        weight.data.add_(0.01)
    told, untold = (
        DiffusionFeatures(diffusion, 50, "unet", context=word) for word in ("implicit", "none")
    )
    before = untold(image())
    assert not told(image())[0].equal(before[0])
    with torch.no_grad():
        for weight in diffusion.captioner.parameters():
            weight.add_(1.0)
    assert all(a.equal(b) for a, b in zip(before, untold(image()), strict=True))
    z_0 = diffusion.encode(image())
    null, t = diffusion.text_encoder(["", ""]), torch.tensor([50, 50])
    z_t = noise_at_once(diffusion, z_0, 50, null)
    expected = diffusion.denoiser.maps(z_t, t, null.tokens, null.mask)
    assert all(a.equal(b) for a, b in zip(before, expected, strict=True))
