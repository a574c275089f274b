"""FAIR's nets, which restore an image from its edges: the published U-Net, and the paper's two."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.equations.restoration import high_pass, to_grey

STAGE_WIDTHS = (1, 2, 4, 8, 8)


STRIDE = 2 ** (len(STAGE_WIDTHS) - 1)


class AddingUnet(nn.Module):
    """Five stages from (B, input_channels, H, W) to (B, width, H, W); what it skips is added.

    H and W must be multiples of `STRIDE`.
    """

    def __init__(self, width: int, input_channels: int) -> None:
        super().__init__()
        widths = [width * factor for factor in STAGE_WIDTHS]
        entries = zip([input_channels, *widths[:-1]], widths, strict=True)
        self.encoders = nn.ModuleList(two_convolutions(i, o, o) for i, o in entries)
        upwards = widths[-2::-1]
        self.enlargers = nn.ModuleList(convolution(i, i) for i in upwards)
        exits = zip(upwards, [*upwards[1:], width], strict=True)
        self.decoders = nn.ModuleList(two_convolutions(i, i, o) for i, o in exits)

    def forward(self, states: Tensor) -> Tensor:
        """The last maps."""
        skipped, states = [], self.encoders[0](states)
        for encoder in self.encoders[1:]:
            skipped.append(states)
            states = encoder(functional.max_pool2d(states, 2))
        for enlarger, decoder in zip(self.enlargers, self.decoders, strict=True):
            larger = functional.interpolate(
                states, scale_factor=2, mode="bilinear", align_corners=True
            )
            states = decoder(enlarger(larger) + skipped.pop())
        return states


class PublishedRestorer(nn.Module):
    """One U-Net on the edges of the grey image; at width 128 it has 69,046,275 weights.

    (arXiv 2309.07068). Weights start as N(0, 0.02).
    """

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.unet = AddingUnet(width, 1)
        self.to_image = nn.Conv2d(width, 3, 3, padding=1)
        self.apply(start_small)

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [0, 1] restored from its edges alone."""
        return self.to_image(self.unet(high_pass(to_grey(image))))


class TwoBranchRestorer(nn.Module):
    """The paper's words taken literally: a branch of pixels and one of edges, fused.

    At width 128 they have 25 M and 18 M weights, and 2 M fuse them, as it says. Nothing like it was
    published: what sees all pixels can restore an anomaly too.
    """

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        spatial, edges, fused = (round(share * width) for share in (77 / 128, 65 / 128, 404 / 128))
        self.spatial, self.frequency = AddingUnet(spatial, 3), AddingUnet(edges, 1)
        self.fusion = nn.Sequential(
            two_convolutions(spatial + edges, fused, fused),
            nn.Conv2d(fused, 3, 3, padding=1),
        )
        self.apply(start_small)

    def forward(self, image: Tensor) -> Tensor:
        """Image (B, 3, H, W) in [0, 1] restored from its pixels and its edges."""
        maps = [self.spatial(image), self.frequency(high_pass(to_grey(image)))]
        return self.fusion(torch.cat(maps, dim=1))


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


RESTORERS: dict[str, Callable[[int], nn.Module]] = {
    "published": PublishedRestorer,
    "two_branches": TwoBranchRestorer,
}
