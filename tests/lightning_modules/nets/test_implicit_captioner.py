"""Holds the size and shape of the implicit captioner."""

import torch

from lightning_modules.nets.diffusion_model import ImplicitCaptioner


def test_captioner_has_0_3_million_weights_at_the_papers_widths() -> None:
    count = sum(weight.numel() for weight in ImplicitCaptioner(512, 768).parameters())
    assert count == 512 * 256 + 256 + 256 * 768 + 768 == 328_704


def test_one_caption_vector_per_image() -> None:
    assert ImplicitCaptioner(12, 20)(torch.randn(3, 12)).shape == (3, 20)


def test_gradient_reaches_every_weight() -> None:
    captioner = ImplicitCaptioner(12, 20)
    captioner(torch.randn(3, 12)).sum().backward()
    assert all(weight.grad.abs().sum() > 0 for weight in captioner.parameters())
