"""DMAD's net of offsets, which says how to draw an image out of shape and how to bring it back."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.equations.deformation import coordinates

# Longest offset of a coarse and of a fine field, where the image spans [-1, 1].
COARSE_REACH, FINE_REACH = 16 / 256, 6 / 256
# How often a coarse and a fine field's map is halved before it is read.
COARSE_HALVINGS, FINE_HALVINGS = 3, 1


class CoordinateConvolution(nn.Module):
    """3x3, batch norm, ReLU, of maps beside which stand their places' coordinates."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(inputs + 4, outputs, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (B, outputs, H, W) of maps (B, inputs, H, W)."""
        places = coordinates(*maps.shape[-2:]).to(maps).expand(len(maps), -1, -1, -1)
        return functional.relu(self.norm(self.convolution(torch.cat([maps, places], dim=1))))


class OffsetNet(nn.Module):
    """Two fields forth and two back of an image; 533,320 weights at width 64.

    (CVPR 2023). Coarse offsets reach 16/256, read at an eighth of the size, fine ones 6/256, at
    half of it.
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            CoordinateConvolution(3, width), CoordinateConvolution(width, width)
        )
        self.residual = nn.Sequential(
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            nn.Conv2d(width, width, 1),
        )
        self.norm = nn.BatchNorm2d(width)
        halvings = (COARSE_HALVINGS, FINE_HALVINGS) * 2
        self.heads = nn.ModuleList(field_head(width, count) for count in halvings)

    def forward(self, image: Tensor) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
        """Coarse and fine field (B, 2, H, W) forth, and coarse and fine back, of (B, 3, H, W)."""
        stem = self.stem(image)
        maps = torch.cat([self.norm(stem + self.residual(stem)), stem], dim=1)
        reaches = (COARSE_REACH, FINE_REACH) * 2
        fields = [
            functional.interpolate(
                reach * head(maps), image.shape[-2:], mode="bilinear", align_corners=True
            )
            for reach, head in zip(reaches, self.heads, strict=True)
        ]
        return (fields[0], fields[1]), (fields[2], fields[3])


def field_head(width: int, halvings: int) -> nn.Sequential:
    """From 2 * width channels to offsets in [-1, 1], the side halved so often."""
    layers: list[nn.Module] = []
    for inputs in (2 * width, *[width] * (halvings - 1)):
        conv = nn.Conv2d(inputs, width, 3, stride=2, padding=1)
        layers += [conv, nn.BatchNorm2d(width), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Conv2d(width, 2, 3, padding=1), nn.Tanh())
