"""YOLOv8's net: a backbone of split bottlenecks, a neck both ways, a head of two branches.

Written from descriptions: CSPNet (arXiv 1911.11929) and GFL (2006.04388). No code, weights or
assets of the published YOLOv8 are used.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.equations.box_losses import BINS, Places, places_of

STRIDES = (8, 16, 32)
Size = Literal["n", "s", "m", "l"]
# Depth, width and the most channels before the width counts.
SIZES: dict[Size, tuple[float, float, int]] = {
    "n": (1 / 3, 0.25, 1024),
    "s": (1 / 3, 0.5, 1024),
    "m": (2 / 3, 0.75, 768),
    "l": (1.0, 1.0, 512),
}
# Names that a place of 640 px starts with.
FIRST_NAMES, FIRST_SIDE_PX = 5, 640


class YoloNet(nn.Module):
    """Names and sides of a box at each place of images (B, 3, H, W), multiples of 32.

    class_count: without good; size: n, s, m or l. At 80 classes 3,157,200, 11,166,560, 25,902,640
    and 43,691,520 weights, 16 of which are the whole distances and do not train.
    """

    def __init__(self, class_count: int, size: Size = "m") -> None:
        super().__init__()
        depth, width, most = SIZES[size]
        c1, c2, c3, c4, c5 = (
            8 * math.ceil(min(channels, most) * width / 8) for channels in (64, 128, 256, 512, 1024)
        )
        few, many = (max(round(depth * count), 1) for count in (3, 6))
        self.to_p3 = nn.Sequential(
            convolution(3, c1, 3, stride=2),
            convolution(c1, c2, 3, stride=2),
            SplitBlock(c2, c2, few, adds=True),
            convolution(c2, c3, 3, stride=2),
            SplitBlock(c3, c3, many, adds=True),
        )
        self.to_p4 = nn.Sequential(
            convolution(c3, c4, 3, stride=2), SplitBlock(c4, c4, many, adds=True)
        )
        self.to_p5 = nn.Sequential(
            convolution(c4, c5, 3, stride=2),
            SplitBlock(c5, c5, few, adds=True),
            PooledPyramid(c5),
        )
        self.up4, self.up3 = SplitBlock(c5 + c4, c4, few), SplitBlock(c4 + c3, c3, few)
        self.from3, self.from4 = (convolution(c, c, 3, stride=2) for c in (c3, c4))
        self.down4, self.down5 = SplitBlock(c3 + c4, c4, few), SplitBlock(c4 + c5, c5, few)
        levels, sides = (c3, c4, c5), max(16, c3 // 4, 4 * BINS)
        names = max(c3, min(class_count, 100))
        shares = [FIRST_NAMES / class_count / (FIRST_SIDE_PX / s) ** 2 for s in STRIDES]
        self.sides = nn.ModuleList(branch(c, sides, 4 * BINS, bias=1.0) for c in levels)
        self.names = nn.ModuleList(
            branch(c, names, class_count, bias=math.log(share))
            for c, share in zip(levels, shares, strict=True)
        )
        self.bins = nn.Parameter(torch.arange(float(BINS)), requires_grad=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits (B, A, K) and logits of distances (B, A, 4, BINS); images in [0, 1]."""
        p3 = self.to_p3(images)
        p4 = self.to_p4(p3)
        p5 = self.to_p5(p4)
        n4 = self.up4(torch.cat([doubled(p5), p4], dim=1))
        n3 = self.up3(torch.cat([doubled(n4), p3], dim=1))
        d4 = self.down4(torch.cat([self.from3(n3), n4], dim=1))
        d5 = self.down5(torch.cat([self.from4(d4), p5], dim=1))
        names, sides = (
            torch.cat(
                [part(level).flatten(2) for part, level in zip(parts, (n3, d4, d5), strict=True)],
                dim=2,
            ).mT
            for parts in (self.names, self.sides)
        )
        return names, sides.unflatten(-1, (4, BINS))

    def places(self, images: Tensor) -> Places:
        """The places that `forward` answers for, of images of this size."""
        height_px, width_px = images.shape[-2:]
        return places_of(height_px, width_px, STRIDES, like=images)


class SplitBlock(nn.Module):
    """Half of the channels pass bottlenecks in a row, and all that comes on the way is joined."""

    def __init__(self, inputs: int, outputs: int, depth: int, *, adds: bool = False) -> None:
        super().__init__()
        self.part = part = outputs // 2
        self.adds = adds
        self.entry = convolution(inputs, 2 * part)
        self.bottlenecks = nn.ModuleList(
            nn.Sequential(convolution(part, part, 3), convolution(part, part, 3))
            for _ in range(depth)
        )
        self.exit = convolution((2 + depth) * part, outputs)

    def forward(self, states: Tensor) -> Tensor:
        """Maps of as many channels as the block puts out."""
        parts = list(self.entry(states).split(self.part, dim=1))
        for bottleneck in self.bottlenecks:
            changed = bottleneck(parts[-1])
            parts.append(parts[-1] + changed if self.adds else changed)
        return self.exit(torch.cat(parts, dim=1))


class PooledPyramid(nn.Module):
    """The peaks of ever wider surroundings, 5, 9 and 13 places, beside the place itself."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.entry = convolution(channels, channels // 2)
        self.exit = convolution(4 * (channels // 2), channels)

    def forward(self, states: Tensor) -> Tensor:
        """Maps of the same shape."""
        parts = [self.entry(states)]
        for _ in range(3):
            parts.append(functional.max_pool2d(parts[-1], 5, stride=1, padding=2))
        return self.exit(torch.cat(parts, dim=1))


def convolution(inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm and SiLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3, momentum=0.03),
        nn.SiLU(inplace=True),
    )


def branch(inputs: int, width: int, outputs: int, *, bias: float) -> nn.Sequential:
    """One of the head's branches on one level, and what its answers start from."""
    last = nn.Conv2d(width, outputs, 1)
    nn.init.constant_(last.bias, bias)  # type: ignore[arg-type]  # it has one
    return nn.Sequential(convolution(inputs, width, 3), convolution(width, width, 3), last)


def doubled(maps: Tensor) -> Tensor:
    """Maps (B, C, h, w) at twice the size."""
    return functional.interpolate(maps, scale_factor=2, mode="nearest")
