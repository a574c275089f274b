"""Holds both bottlenecks and the decoder to their published sizes and shapes."""

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.nets.reverse_distillation import (
    BOTTLENECKS,
    MirroredDecoder,
    QuantisedBottleneck,
)

WIDE_RESNET = (256, 512, 1024)


def count(net: nn.Module) -> int:
    return sum(weight.numel() for weight in net.parameters())


def small_maps(count: int = 2) -> list[Tensor]:
    """A teacher's maps of images of 64 px."""
    torch.manual_seed(0)
    return [torch.randn(count, 8 * 2**k, 16 // 2**k, 16 // 2**k) for k in range(3)]


def test_published_sizes_of_a_wide_resnet_50_student() -> None:
    with torch.device("meta"):
        plain, quantised = (BOTTLENECKS[name](WIDE_RESNET) for name in ("plain", "quantised"))
        decoder = MirroredDecoder(plain.width, WIDE_RESNET)
    assert count(plain) == 58_885_120
    assert count(quantised) == 44_960_512 - 1_050_624  # without what the published one never uses
    assert count(decoder) == 24_917_504


@pytest.mark.parametrize("kind", BOTTLENECKS)
def test_student_gives_maps_of_the_teachers_shapes_and_each_weight_learns(kind: str) -> None:
    maps = small_maps()
    bottleneck = BOTTLENECKS[kind]((8, 16, 32))
    decoder = MirroredDecoder(bottleneck.width, (8, 16, 32))
    embedding, loss = bottleneck(maps)
    assert embedding.shape == (2, 64, 2, 2)
    recalled = decoder(embedding)
    assert [one.shape for one in recalled] == [one.shape for one in maps]
    (sum(one.square().sum() for one in recalled) + loss).backward()
    assert all(one.grad is not None for net in (bottleneck, decoder) for one in net.parameters())


def test_quantised_bottleneck_sees_the_last_map_by_codes_alone_but_for_a_narrow_path() -> None:
    bottleneck, maps = QuantisedBottleneck((8, 16, 32)).eval(), small_maps()
    for path in (bottleneck.first, bottleneck.second, bottleneck.third):
        nn.init.zeros_([one for one in path.modules() if isinstance(one, nn.Conv2d)][-1].weight)
    bottleneck.codes.data[1:] = 1e3
    one, other = (bottleneck(some)[0] for some in (maps, [-each for each in maps]))
    torch.testing.assert_close(one, other)
