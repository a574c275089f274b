"""Holds FAIR's nets to their published sizes, their shapes, and that all their weights learn."""

import pytest
import torch
from torch import nn

from lightning_modules.nets.restoration_unet import (
    RESTORERS,
    AddingUnet,
    PublishedRestorer,
    TwoBranchRestorer,
)

every_net = pytest.mark.parametrize("name", RESTORERS)


def count(part: nn.Module) -> int:
    return sum(weight.numel() for weight in part.parameters())


def test_published_width_has_the_published_number_of_weights() -> None:
    with torch.device("meta"):
        assert count(PublishedRestorer()) == 69_046_275


def test_two_branches_have_what_the_paper_says() -> None:
    with torch.device("meta"):
        net = TwoBranchRestorer()
    millions = [round(count(part) / 1e6, 1) for part in (net.spatial, net.frequency, net.fusion)]
    assert millions == [25.0, 17.8, 2.0]


@every_net
@pytest.mark.parametrize("size", [(16, 16), (48, 32)])
def test_restored_image_has_the_same_size(name: str, size: tuple[int, int]) -> None:
    assert RESTORERS[name](4)(torch.rand(2, 3, *size)).shape == (2, 3, *size)


@every_net
def test_gradient_reaches_each_weight(name: str) -> None:
    torch.manual_seed(0)
    net = RESTORERS[name](4)
    net(torch.rand(2, 3, 32, 32)).square().sum().backward()
    assert all(weight.grad is not None for weight in net.parameters())


@torch.no_grad()
def test_published_net_sees_neither_colour_nor_brightness_and_two_branches_do() -> None:
    torch.manual_seed(0)
    image = torch.rand(1, 3, 32, 32) / 2
    grey = (image * torch.tensor([0.299, 0.587, 0.114]).view(3, 1, 1)).sum(1, keepdim=True)
    for name, sees in (("published", False), ("two_branches", True)):
        net = RESTORERS[name](4).eval()
        for weight in net.parameters():
            torch.nn.init.normal_(weight, std=0.3)
        before = net(image)
        for other in (grey.expand(-1, 3, -1, -1), image + 0.3):
            assert torch.allclose(net(other), before, atol=1e-5) is not sees


@torch.no_grad()
def test_each_decoder_reads_the_sum_of_what_was_skipped_and_enlarged() -> None:
    torch.manual_seed(0)
    net, made, read = AddingUnet(2, 1).eval(), {}, {}
    for name, part in net.named_modules():
        part.register_forward_hook(lambda _, given, out, name=name: made.update({name: out}))
        part.register_forward_pre_hook(lambda _, given, name=name: read.update({name: given[0]}))
    net(torch.randn(1, 1, 32, 32))
    for depth in range(4):
        expected = made[f"encoders.{3 - depth}"] + made[f"enlargers.{depth}"]
        torch.testing.assert_close(read[f"decoders.{depth}"], expected)


def test_weights_start_small() -> None:
    torch.manual_seed(0)
    net = PublishedRestorer(32)
    weights = torch.cat([w.flatten() for w in net.parameters() if w.dim() == 4])
    assert weights.std().item() == pytest.approx(0.02, rel=0.02)
