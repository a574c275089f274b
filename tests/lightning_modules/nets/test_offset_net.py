"""Holds the net of offsets to its published size and reach."""

import torch

from lightning_modules.nets.offset_net import OffsetNet


def test_published_net_has_the_published_number_of_weights_in_use() -> None:
    with torch.device("meta"):
        net = OffsetNet()
    assert sum(one.numel() for one in net.parameters()) == 533_320


def test_fields_have_the_images_size_and_stay_within_their_reach() -> None:
    torch.manual_seed(0)
    net = OffsetNet(4)
    for head in net.heads:
        torch.nn.init.constant_(head[-2].bias, 50.0)  # type: ignore[index, union-attr, arg-type]
    forth, back = net(torch.randn(2, 3, 64, 32))
    for coarse, fine in (forth, back):
        assert coarse.shape == fine.shape == (2, 2, 64, 32)
        torch.testing.assert_close(coarse, torch.full_like(coarse, 16 / 256))
        torch.testing.assert_close(fine, torch.full_like(fine, 6 / 256))


def test_each_weight_learns() -> None:
    torch.manual_seed(0)
    net = OffsetNet(4)
    forth, back = net(torch.randn(2, 3, 32, 32))
    sum(one.square().sum() for one in (*forth, *back)).backward()  # type: ignore[union-attr]
    assert all(one.grad is not None for one in net.parameters())
