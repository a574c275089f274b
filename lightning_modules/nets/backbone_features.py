"""Frozen feature maps of a timm net, by the names of its layers."""

import torch
from torch import Tensor, nn

from lightning_modules.known_weights import KNOWN_WEIGHTS
from lightning_modules.nets.image_encoder import PixelStatistics, create_timm, read_timm, timm_name
from lightning_modules.weights_io import RANDOM

PATCH_STRIDES = (8, 16)


class BackboneFeatures(nn.Module):
    """Maps of some layers of a frozen timm net, finest first; layers after the last are not made.

    weights: a known name (`efficientnet_lite2`), a safetensors file or folder, a repository of the
    hub, or the word random, which says that they are. model_name: timm's name of the net, "" for
    that of known weights. layers: timm's names of them, such as layer2; those at `at_strides` where
    none is named. Raises ValueError for no weights, and for a layer that the net lacks.
    """

    def __init__(
        self,
        weights: str,
        model_name: str = "",
        layers: tuple[str, ...] = (),
        at_strides: tuple[int, ...] = PATCH_STRIDES,
    ) -> None:
        super().__init__()
        self.weights, self.model_name = weights, named_net(weights, model_name)
        with torch.device("meta"):
            info = create_timm("backbone", self.model_name, features_only=True).feature_info
        strides = dict(zip(info.module_name(), info.reduction(), strict=True))
        layers = layers or tuple(name for name, s in strides.items() if s in at_strides)
        if unknown := [name for name in layers if name not in strides]:
            raise ValueError(
                f"{self.model_name} has no layer {unknown[0]!r}: expected some of "
                f"{', '.join(strides)}"
            )
        places = tuple(place for place, name in enumerate(strides) if name in layers)
        self.backbone = create_timm(
            "backbone", self.model_name, features_only=True, out_indices=places
        )
        self.channels: tuple[int, ...] = tuple(self.backbone.feature_info.channels())
        self.strides: tuple[int, ...] = tuple(self.backbone.feature_info.reduction())
        self.pixels = PixelStatistics(self.backbone)
        self.requires_grad_(False).eval()

    def tags(self) -> dict[str, str]:
        """What a table must say of it."""
        return {"backbone": self.model_name, "backbone_weights": self.weights}

    def load(self) -> None:
        """Reads the weights; FileNotFoundError, or ValueError where they do not fit."""
        if self.weights != RANDOM:
            read_timm(self.backbone, self.weights)

    def train(self, mode: bool = True) -> "BackboneFeatures":
        """Stays in evaluation mode: running statistics of other data would spoil the norms."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps (B, C_i, H / stride_i, W / stride_i) of image (B, 3, H, W) in [-1, 1]."""
        return self.backbone(self.pixels(image))


def named_net(weights: str, model_name: str) -> str:
    """The net's name in timm; ValueError for no weights, or where nothing names it."""
    if not weights:
        lite = [word for word, one in KNOWN_WEIGHTS.items() if one.architecture]
        raise ValueError(
            f"the backbone has no weights: set weights to one of {', '.join(lite)}, a file, a "
            f"repository of the hub, or {RANDOM} to try without"
        )
    if weights == RANDOM and not model_name:
        raise ValueError(f"weights are {RANDOM}: name the net by model_name, timm's name of it")
    return model_name if weights == RANDOM else timm_name(model_name, weights)
