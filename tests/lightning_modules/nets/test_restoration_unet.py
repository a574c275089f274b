"""Holds FAIR's net to its published size, its shapes, and that all its weights learn."""

import pytest
import torch

from lightning_modules.nets.restoration_unet import RestorationUnet


def test_published_width_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        net = RestorationUnet()
    assert sum(weight.numel() for weight in net.parameters()) == 69_046_275


@pytest.mark.parametrize("size", [(16, 16), (48, 32)])
def test_image_has_the_size_of_its_edges(size: tuple[int, int]) -> None:
    image = RestorationUnet(2)(torch.randn(2, 1, *size))
    assert image.shape == (2, 3, *size)


def test_gradient_reaches_each_weight() -> None:
    torch.manual_seed(0)
    net = RestorationUnet(4)
    net(torch.randn(2, 1, 32, 32)).square().sum().backward()
    assert all(weight.grad is not None for weight in net.parameters())
    # A convolution's bias before a norm moves nothing.
    still = [name for name, one in net.named_parameters() if not one.grad.abs().max() > 0]  # type: ignore[union-attr]
    assert all(name.endswith(".0.bias") for name in still)


def test_each_decoder_reads_the_sum_of_what_was_skipped_and_enlarged() -> None:
    torch.manual_seed(0)
    net, made, read = RestorationUnet(2).eval(), {}, {}
    for name, part in net.named_modules():
        part.register_forward_hook(lambda _, given, out, name=name: made.update({name: out}))
        part.register_forward_pre_hook(lambda _, given, name=name: read.update({name: given[0]}))
    net(torch.randn(1, 1, 32, 32))
    for depth in range(4):
        expected = made[f"encoders.{3 - depth}"] + made[f"enlargers.{depth}"]
        torch.testing.assert_close(read[f"decoders.{depth}"], expected)


def test_weights_start_small() -> None:
    torch.manual_seed(0)
    net = RestorationUnet(32)
    weights = torch.cat([w.flatten() for w in net.parameters() if w.dim() == 4])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
