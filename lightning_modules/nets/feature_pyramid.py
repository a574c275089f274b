"""Feature maps of any strides brought to one width and to the strides that masks need."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from lightning_modules.nets.image_encoder import (
    PixelStatistics,
    create_timm,
    read_timm,
    timm_name,
)

PAPERS, HYBRID, TIMM = "diffusion", "diffusion+timm", "timm"
LIGHT_ENCODER = "resnet18"


def norm(channels: int) -> nn.GroupNorm:
    """Group norm with the most groups, up to 32, that divide the channels."""
    groups = next(g for g in (32, 16, 8, 4, 2, 1) if channels % g == 0)
    return nn.GroupNorm(groups, channels)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with norms around a shortcut: any width in, `width` out."""

    def __init__(self, in_channels: int, width: int) -> None:
        super().__init__()
        inner = max(32, width // 4)
        self.body = nn.Sequential(
            nn.Conv2d(in_channels, inner, 1, bias=False),
            norm(inner),
            nn.ReLU(),
            nn.Conv2d(inner, inner, 3, padding=1, bias=False),
            norm(inner),
            nn.ReLU(),
            nn.Conv2d(inner, width, 1, bias=False),
            norm(width),
        )
        self.shortcut = nn.Sequential(nn.Conv2d(in_channels, width, 1, bias=False), norm(width))

    def forward(self, features: Tensor) -> Tensor:
        """(B, width, h, w) from (B, in_channels, h, w)."""
        return functional.relu(self.body(features) + self.shortcut(features))


class ImageStem(nn.Module):
    """Two small strided steps on the image itself: maps at strides 2 and 4.

    They place what a stride-8 latent blurs; an autoencoder with taps at stride 4 needs none. The
    first step has one convolution only: at stride 2 each costs as much as the rest of the pyramid.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_half = self._layer(3, width, stride=2)
        self.to_quarter = nn.Sequential(
            self._layer(width, width, stride=2), self._layer(width, width, stride=1)
        )

    @staticmethod
    def _layer(in_channels: int, width: int, *, stride: int) -> nn.Sequential:
        convolution = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        return nn.Sequential(convolution, norm(width), nn.ReLU())

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Maps by stride, 2 and 4, from image (B, 3, H, W)."""
        half = self.to_half(image)
        return {2: half, 4: self.to_quarter(half)}


class TimmEncoder(nn.Module):
    """A light timm encoder that trains with stage 2: maps at strides 2 to 32.

    It starts at random, or from `weights`: a known name (`efficientnet_lite0`), a safetensors file
    or a repository of the hub. Then its batch norms keep the statistics that came with them, as
    detectors have it, and pixels are normalised as timm says for this net.
    """

    def __init__(
        self, model_name: str, width: int, strides: tuple[int, ...], weights: str = ""
    ) -> None:
        super().__init__()
        self.weights = weights
        self.model_name = timm_name(model_name, weights)
        self.backbone = create_timm("encoder", self.model_name, features_only=True)
        self.pixels = PixelStatistics(self.backbone) if weights else nn.Identity()
        info = self.backbone.feature_info
        self.reductions = tuple(info.reduction())
        self.project = nn.ModuleDict()
        for stride, count in zip(self.reductions, info.channels(), strict=True):
            if stride in strides:
                layers = nn.Conv2d(count, width, 1, bias=False), norm(width)
                self.project[str(stride)] = nn.Sequential(*layers)
        self.strides = tuple(int(stride) for stride in self.project)

    def load(self) -> None:
        """Reads the weights, where some are named; FileNotFoundError, or ValueError."""
        if self.weights:
            read_timm(self.backbone, self.weights)

    def train(self, mode: bool = True) -> "TimmEncoder":
        """Norms whose statistics were read stay in evaluation mode."""
        super().train(mode)
        for module in self.backbone.modules() if self.weights else ():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.eval()
        return self

    def forward(self, image: Tensor) -> dict[int, Tensor]:
        """Maps (B, width, H / stride, W / stride) by stride."""
        maps = dict(zip(self.reductions, self.backbone(self.pixels(image)), strict=True))
        return {stride: self.project[str(stride)](maps[stride]) for stride in self.strides}


class FeaturePyramid(nn.Module):
    """One map per stride, fine to coarse: projected taps summed, joined by stem and encoder.

    A tap's stride is clamped into the pyramid's. `stem` adds strides 2 and 4 from the image.
    `kind` is the paper's `diffusion`; the hybrid `diffusion+timm`, where a timm `encoder` ("" for
    that of `weights`, or a light one) trains beside them; or `timm`, that encoder alone. Raises
    ValueError for another kind, for an encoder or weights that it has no use for, and when a stride
    has no source.
    """

    def __init__(
        self,
        *,
        tap_channels: list[int],
        tap_strides: list[int],
        width: int,
        strides: tuple[int, ...],
        kind: str = PAPERS,
        stem: bool = False,
        encoder: str = "",
        weights: str = "",
    ) -> None:
        super().__init__()
        if kind not in (PAPERS, HYBRID, TIMM):
            raise ValueError(f"pyramid is {kind!r}: expected {PAPERS}, {HYBRID} or {TIMM}")
        if kind == PAPERS and (encoder or weights):
            word = f"encoder {encoder!r}" if encoder else f"weights {weights!r}"
            raise ValueError(
                f"got {word}, but pyramid {PAPERS!r} has no encoder: set pyramid: {HYBRID}"
            )
        self.kind, self.strides = kind, strides
        if kind == TIMM:
            tap_channels, tap_strides = [], []
        self.tap_strides = [min(max(s, strides[0]), strides[-1]) for s in tap_strides]
        self.project = nn.ModuleList([Bottleneck(count, width) for count in tap_channels])
        self.stem = ImageStem(width) if stem else None
        self.encoder = (
            TimmEncoder(encoder or ("" if weights else LIGHT_ENCODER), width, strides, weights)
            if kind != PAPERS
            else None
        )
        covered = set(self.tap_strides) | ({2, 4} if stem else set())
        covered |= set(self.encoder.strides) if self.encoder else set()
        missing = sorted(set(strides) - covered)
        if missing:
            raise ValueError(
                f"the pyramid has no features at strides {missing}: set stem: true, name an "
                "encoder, or use an autoencoder with taps (taps: full)"
            )

    def tags(self) -> dict[str, str]:
        """What a table must say of it."""
        encoder = self.encoder
        return {
            "pyramid": self.kind,
            "encoder": encoder.model_name if encoder else "none",
            "encoder_weights": encoder.weights or "random" if encoder else "none",
            "stem": "yes" if self.stem else "no",
        }

    def forward(self, image: Tensor, taps: list[Tensor]) -> list[Tensor]:
        """Maps (B, width, H / s, W / s), fine to coarse, from the image and the frozen taps."""
        sums: dict[int, list[Tensor]] = {stride: [] for stride in self.strides}
        for tap, stride, project in zip(taps, self.tap_strides, self.project, strict=True):
            size = (image.shape[-2] // stride, image.shape[-1] // stride)
            sums[stride].append(project(functional.interpolate(tap, size=size)))
        for extra in (self.stem, self.encoder):
            for stride, features in (extra(image) if extra else {}).items():
                if stride in sums:
                    sums[stride].append(features)
        return [torch.stack(sums[stride]).sum(0) for stride in self.strides]
