"""Reverse distillation: a student that gives a teacher's maps back out of a narrow embedding.

The decoder is that of RD4AD (Deng and Li, CVPR 2022), as is the plain bottleneck before it; the one
of few codes is DMAD's (CVPR 2023). Sizes follow from the teacher's three maps, finest first.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.equations.distillation import quantise

# Pixels per cell of a teacher's maps; the embedding's cells are twice the last.
TEACHER_STRIDES = (4, 8, 16)
STRIDE = 2 * TEACHER_STRIDES[-1]
CODES = 200
# Blocks of the decoder's stages, coarse to fine, and of the embedding.
STAGE_BLOCKS = (3, 4, 6)
EMBEDDING_BLOCKS = 3


class ResidualBlock(nn.Module):
    """1x1, `spatial` and 1x1 beside a shortcut, half as wide between as after it."""

    def __init__(self, inputs: int, outputs: int, spatial: nn.Module, shortcut: nn.Module) -> None:
        super().__init__()
        width = outputs // 2
        self.path = nn.Sequential(
            nn.Conv2d(inputs, width, 1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            spatial,
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = shortcut

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, outputs, h', w') of maps (B, inputs, h, w)."""
        return functional.relu(self.path(maps) + self.shortcut(maps))


def keeping_block(channels: int) -> ResidualBlock:
    """A block whose maps keep their shape."""
    width = channels // 2
    spatial = nn.Conv2d(width, width, 3, padding=1, bias=False)
    return ResidualBlock(channels, channels, spatial, nn.Identity())


def halving_stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """Blocks of which the first halves the maps' sides."""
    width = outputs // 2
    spatial = nn.Conv2d(width, width, 3, stride=2, padding=1, bias=False)
    shortcut = nn.Conv2d(inputs, outputs, 1, stride=2, bias=False)
    return stage(inputs, outputs, blocks, spatial, shortcut)


def doubling_stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    """Blocks of which the first doubles the maps' sides."""
    width = outputs // 2
    spatial = nn.ConvTranspose2d(width, width, 2, stride=2, bias=False)
    shortcut = nn.ConvTranspose2d(inputs, outputs, 2, stride=2, bias=False)
    return stage(inputs, outputs, blocks, spatial, shortcut)


def stage(
    inputs: int, outputs: int, blocks: int, spatial: nn.Module, shortcut: nn.Module
) -> nn.Sequential:
    """A block of these two layers, and others that keep the shape."""
    first = ResidualBlock(
        inputs, outputs, spatial, nn.Sequential(shortcut, nn.BatchNorm2d(outputs))
    )
    return nn.Sequential(first, *(keeping_block(outputs) for _ in range(blocks - 1)))


def convolution(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3, batch norm, ReLU."""
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


class Bottleneck(nn.Module):
    """Brings three maps to one size and embeds them, `width` wide, at half the side of the last."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.width = width
        self.embedding = halving_stage(inputs, width, EMBEDDING_BLOCKS)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """The embedding (B, width, h_3 / 2, w_3 / 2) of maps (B, C_i, h_i, w_i), and a loss."""
        raise NotImplementedError


class PlainBottleneck(Bottleneck):
    """All that the maps hold, as wide as the last of them each (RD4AD); its loss is 0.

    58,885,120 weights for WideResNet-50. DMAD's results of pixels are with this one.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        one, two, three = channels
        super().__init__(3 * three, 2 * three)
        self.first = nn.Sequential(convolution(one, two, 2), convolution(two, three, 2))
        self.second = convolution(two, three, 2)
        start(self)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """As `Bottleneck` says."""
        joined = torch.cat([self.first(maps[0]), self.second(maps[1]), maps[2]], dim=1)
        return self.embedding(joined), joined.new_zeros(())


class QuantisedBottleneck(Bottleneck):
    """The last map by the nearest of few codes, and little of all maps: a sixteenth of its width.

    43,909,888 weights for WideResNet-50. DMAD's results of whole images are with this one.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        one, two, three = channels
        few = max(three // 16, 1)
        super().__init__(3 * few + three, 2 * three)
        self.first = nn.Sequential(
            convolution(one, few), convolution(few, few, 2), convolution(few, few, 2)
        )
        self.second = nn.Sequential(convolution(two, few), convolution(few, few, 2))
        self.third = convolution(three, few)
        self.codes = nn.Parameter(torch.empty(CODES, three).uniform_(-1 / CODES, 1 / CODES))
        start(self)

    def forward(self, maps: list[Tensor]) -> tuple[Tensor, Tensor]:
        """As `Bottleneck` says; the loss is that of the codes."""
        last = maps[2].movedim(1, -1)
        nearest, loss = quantise(last.flatten(0, 2), self.codes)
        coded = nearest.view_as(last).movedim(-1, 1)
        paths = zip((self.first, self.second, self.third), maps, strict=True)
        narrow = [path(one) for path, one in paths]
        return self.embedding(torch.cat([*narrow, coded], dim=1)), loss


class MirroredDecoder(nn.Module):
    """A teacher's three maps from an embedding; 24,917,504 weights for those of WideResNet-50."""

    def __init__(self, embedding_width: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        outputs = channels[::-1]
        inputs = (embedding_width, *outputs[:-1])
        shapes = zip(inputs, outputs, STAGE_BLOCKS, strict=True)
        self.stages = nn.ModuleList(doubling_stage(*shape) for shape in shapes)
        start(self)

    def forward(self, embedding: Tensor) -> list[Tensor]:
        """Maps (B, C_i, h_i, w_i), finest first, of an embedding (B, width, h, w)."""
        maps = [embedding]
        for doubling in self.stages:
            maps.append(doubling(maps[-1]))
        return maps[:0:-1]


def start(net: nn.Module) -> None:
    """He's weights by what goes out, for each convolution of the net."""
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")


BOTTLENECKS: dict[str, Callable[[tuple[int, ...]], Bottleneck]] = {
    "plain": PlainBottleneck,
    "quantised": QuantisedBottleneck,
}
