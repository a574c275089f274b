"""Tokens of places from some layers of a frozen net, and one vector of the whole image."""

from abc import abstractmethod
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers.models.clip.modeling_clip import CLIPEncoderLayer

from lightning_modules.nets.backbone_features import BackboneFeatures, named_net
from lightning_modules.nets.image_encoder import PixelStatistics, create_timm, read_timm
from lightning_modules.nets.whole_clip import WholeClip
from lightning_modules.weights_io import RANDOM


class PatchTokens(nn.Module):
    """A frozen net's tokens; an image's side is a multiple of `patch_px`, known once loaded."""

    patch_px = 1

    @abstractmethod
    def tags(self) -> dict[str, str]:
        """What a table must say of it."""

    @abstractmethod
    def load(self) -> None:
        """Reads the weights; FileNotFoundError, or ValueError where they do not fit."""

    def await_weights(self) -> None:
        """Makes ready for a checkpoint that brings all weights; reads what it cannot bring."""

    def train(self, mode: bool = True) -> "PatchTokens":
        """Stays in evaluation mode."""
        return super().train(False)

    @abstractmethod
    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Maps (B, C_i, h, w) of each layer and vectors (B, D) of images (B, 3, s, s) in [-1, 1].

        h and w are the same for all layers.
        """


class TransformerTokens(PatchTokens):
    """What blocks of a vision transformer of timm put out, and its class token after the last one.

    weights, model_name: as `BackboneFeatures` takes them; layers: places of blocks, from 0.
    Positions are interpolated to the size of the image.
    """

    def __init__(
        self, weights: str = "", model_name: str = "", layers: tuple[int, ...] = (2, 5, 8, 11)
    ) -> None:
        super().__init__()
        self.weights, self.layers = weights, layers
        self.model_name = named_net(weights, model_name)
        self.backbone = create_timm(
            "backbone",
            self.model_name,
            expected="a vision transformer of timm",
            num_classes=0,
            dynamic_img_size=True,
        )
        check_layers(self.model_name, layers, len(self.backbone.blocks))
        self.patch_px = int(self.backbone.patch_embed.patch_size[0])
        self.pixels = PixelStatistics(self.backbone)
        self.requires_grad_(False).eval()

    def tags(self) -> dict[str, str]:
        """The net and its weights."""
        return {"backbone": self.model_name, "backbone_weights": self.weights}

    def load(self) -> None:
        """Reads the weights; FileNotFoundError, or ValueError where they do not fit."""
        if self.weights != RANDOM:
            read_timm(self.backbone, self.weights)

    @torch.no_grad()
    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Tokens of blocks as they lie in the image, before any last norm."""
        net = self.backbone
        last, maps = net.forward_intermediates(self.pixels(image), indices=list(self.layers))
        return maps, net.forward_head(last, pre_logits=True)


class ClipTokens(PatchTokens):
    """What layers of CLIP's image tower put out, and its vector of the image.

    pretrained: a repository of the hub or a local folder; layers: places, from 0.
    """

    def __init__(
        self, pretrained: str = "openai/clip-vit-large-patch14-336", layers: tuple[int, ...] = ()
    ) -> None:
        super().__init__()
        self.clip, self.layers = WholeClip(pretrained), layers

    def tags(self) -> dict[str, str]:
        """Which CLIP."""
        return {"clip": self.clip.pretrained}

    def load(self) -> None:
        """Reads the weights; ValueError in one line."""
        self.clip.load()
        vision = self.clip.model.vision_model.config
        self.patch_px = vision.patch_size
        check_layers(self.clip.pretrained, self.layers, vision.num_hidden_layers)

    def await_weights(self) -> None:
        """Reads the weights, of which a checkpoint holds none."""
        self.load()

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Tokens of layers as they lie in the image."""
        kept: list[Tensor] = []

        def keep(layers: Iterable[CLIPEncoderLayer], tokens: Tensor) -> Tensor:
            for place, layer in enumerate(layers):
                tokens = layer(tokens, attention_mask=None)
                if place in self.layers:
                    kept.append(tokens[:, 1:])
            return tokens

        vectors, patches = self.clip.embed_patches(image, keep, image_size_px=image.shape[-1])
        return [one.mT.unflatten(2, patches.shape[1:3]) for one in kept], vectors


class ConvolutionalTokens(PatchTokens):
    """Maps of a convolutional net as tokens, on the coarsest one's grid; the last one's mean.

    No transformer: for where there are no weights of one. weights, model_name, layers: as
    `BackboneFeatures` takes them.
    """

    def __init__(
        self, weights: str = "", model_name: str = "", layers: tuple[str, ...] = ()
    ) -> None:
        super().__init__()
        self.features = BackboneFeatures(weights, model_name, layers)

    def tags(self) -> dict[str, str]:
        """The net and its weights, and that its tokens are no transformer's."""
        return {**self.features.tags(), "tokens": "maps of a convolutional net"}

    def load(self) -> None:
        """Reads the weights; FileNotFoundError, or ValueError where they do not fit."""
        self.features.load()

    def forward(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Maps averaged over the coarsest one's places."""
        maps = self.features(image)
        size = maps[-1].shape[-2:]
        return [functional.adaptive_avg_pool2d(one, size) for one in maps], maps[-1].mean((2, 3))


def check_layers(name: str, layers: tuple[int, ...], count: int) -> None:
    """ValueError for none, and for a place that the net lacks."""
    if not layers or not all(0 <= place < count for place in layers):
        raise ValueError(
            f"layers of {name} are {list(layers)}: expected some of 0 to {count - 1}, rising"
        )
