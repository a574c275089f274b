"""Holds the pyramid's strides, sources and gradients."""

import pytest
import torch
from torch import Tensor

from lightning_modules.nets.feature_pyramid import HYBRID, PAPERS, FeaturePyramid

STRIDES = (4, 8, 16, 32)


def pyramid(tap_strides: list[int], kind: str = PAPERS, encoder: str = "") -> FeaturePyramid:
    channels = [6] * len(tap_strides)
    return FeaturePyramid(
        tap_channels=channels,
        tap_strides=tap_strides,
        width=16,
        strides=STRIDES,
        kind=kind,
        encoder=encoder,
    )


def taps(strides: list[int], side_px: int = 64) -> list[Tensor]:
    return [torch.randn(2, 6, side_px // stride, side_px // stride) for stride in strides]


def test_tap_coarser_than_the_pyramid_joins_its_coarsest_map(seed: int) -> None:
    strides = [64, 32, 16, 8, 4]
    net, image, given = pyramid(strides), torch.zeros(2, 3, 128, 128), taps(strides, 128)
    before = net(image, given)
    given[0] = given[0].flip(-1)  # norms see no difference between maps of one value
    changed = [not one.equal(other) for one, other in zip(net(image, given), before, strict=True)]
    assert changed == [False, False, False, True]


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (([32, 16, 8],), r"no features at strides \[4\]: set stem: true"),
        (
            ([8], "diffusion", "resnet18"),
            r"'diffusion' has no encoder: set pyramid: diffusion\+timm",
        ),
        (([8], "timn"), r"pyramid is 'timn': expected diffusion, diffusion\+timm"),
        (([8], HYBRID, "resnet81"), r"'resnet81' .*a timm name such as resnet"),
    ],
)
def test_pyramid_that_means_nothing_is_one_line(given: tuple, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        pyramid(*given)
    assert "\n" not in str(caught.value)
