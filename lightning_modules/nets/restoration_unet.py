"""FAIR's net: a plain U-Net from one channel of edges to a colour image; what it skips is added."""

import torch
from torch import Tensor, nn
from torch.nn import functional

STAGE_WIDTHS = (1, 2, 4, 8, 8)


class RestorationUnet(nn.Module):
    """Five stages; at width 128 it has 69,046,275 weights (arXiv 2309.07068).

    Height and width of what it sees must be multiples of `stride`. Weights start as N(0, 0.02).
    """

    stride = 2 ** (len(STAGE_WIDTHS) - 1)

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        widths = [width * factor for factor in STAGE_WIDTHS]
        entries = zip([1, *widths[:-1]], widths, strict=True)
        self.encoders = nn.ModuleList(two_convolutions(i, o, o) for i, o in entries)
        upwards = widths[-2::-1]
        self.enlargers = nn.ModuleList(convolution(i, i) for i in upwards)
        exits = zip(upwards, [*upwards[1:], width], strict=True)
        self.decoders = nn.ModuleList(two_convolutions(i, i, o) for i, o in exits)
        self.to_image = nn.Conv2d(width, 3, 3, padding=1)
        self.apply(start_small)

    def forward(self, edges: Tensor) -> Tensor:
        """The image (B, 3, H, W), about in [0, 1], that has the edges (B, 1, H, W)."""
        skipped, states = [], self.encoders[0](edges)
        for encoder in self.encoders[1:]:
            skipped.append(states)
            states = encoder(functional.max_pool2d(states, 2))
        for enlarger, decoder in zip(self.enlargers, self.decoders, strict=True):
            larger = functional.interpolate(
                states, scale_factor=2, mode="bilinear", align_corners=True
            )
            states = decoder(enlarger(larger) + skipped.pop())
        return self.to_image(states)


def convolution(inputs: int, outputs: int) -> nn.Sequential:
    """3x3, batch norm, ReLU."""
    conv = nn.Conv2d(inputs, outputs, 3, padding=1)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def two_convolutions(inputs: int, between: int, outputs: int) -> nn.Sequential:
    """Two of `convolution`."""
    return nn.Sequential(convolution(inputs, between), convolution(between, outputs))


@torch.no_grad()
def start_small(layer: nn.Module) -> None:
    """Weights of a convolution from N(0, 0.02), of a norm from N(1, 0.02)."""
    if isinstance(layer, nn.Conv2d):
        nn.init.normal_(layer.weight, 0.0, 0.02)
    elif isinstance(layer, nn.BatchNorm2d):
        nn.init.normal_(layer.weight, 1.0, 0.02)
