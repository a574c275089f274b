"""Image towers in front of the implicit captioner: timm nets, learning or frozen, and CLIP's."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import timm
import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from lightning_modules.weights_io import fill, load_from_hub, read_tensors

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_DEVIATION = (0.26862954, 0.26130258, 0.27577711)


# A timm net has attributes that no checker can see.
TimmNet: TypeAlias = Any


def create_timm(
    part: str,
    model_name: str,
    *,
    padding: str = "",
    expected: str = "a timm name",
    **settings: object,
) -> TimmNet:
    """A timm net with random weights; ValueError, with names like it, where timm makes none.

    part, expected: words of the error; padding: timm's `pad_type`, "same" for weights that come
    from TensorFlow.
    """
    if padding:
        settings["pad_type"] = padding
    try:
        return timm.create_model(model_name, pretrained=False, **settings)
    except (RuntimeError, TypeError, ValueError) as error:
        near = ", ".join(difflib.get_close_matches(model_name, timm.list_models(), cutoff=0.5))
        raise ValueError(
            f"{part} {model_name!r} with settings {settings} cannot be made "
            f"({str(error).splitlines()[0]}): expected {expected}"
            + (f" such as {near}" if near else "")
        ) from error


def by_channel(values: Sequence[float], value: float | None) -> Tensor:
    """Statistics (3, 1, 1) of pixels in [0, 1]: timm's `values`, or one for all where given."""
    return torch.tensor(values if value is None else [value] * 3).view(3, 1, 1)


class ImageEncoder(nn.Module):
    """What the system needs of an image tower: one embedding per image, `width` wide."""

    width: int
    is_loaded = False

    def check_loaded(self) -> None:
        """RuntimeError for a frozen tower whose weights were not read."""
        if not self.is_loaded:
            raise RuntimeError("the image tower has no weights yet: call load() first")

    def load(self) -> None:
        """Reads the weights; nothing where the tower learns with stage 1."""

    def await_weights(self) -> None:
        """Makes ready for a checkpoint that brings all weights; reads what it cannot bring."""
        self.load()

    def forward(self, image: Tensor) -> Tensor:
        """Embeddings (B, D) of image (B, 3, H, W) in [-1, 1]."""
        raise NotImplementedError


class TimmImageEncoder(ImageEncoder):
    """A timm backbone that is trained with stage 1; its pooled features are the embedding."""

    def __init__(self, model_name: str = "mobilenetv3_small_050") -> None:
        super().__init__()
        self.backbone = create_timm("image tower", model_name, num_classes=0)
        with torch.no_grad():
            probe = torch.zeros(1, 3, 64, 64, device=next(self.backbone.parameters()).device)
            self.width = int(self.backbone.eval()(probe).shape[1])
        self.backbone.train()  # Lightning leaves each module in the mode that it finds

    def forward(self, image: Tensor) -> Tensor:
        """Embeddings (B, D) of image (B, 3, H, W) in [-1, 1]."""
        return self.backbone(image)


class PretrainedTimmImageEncoder(ImageEncoder):
    """A frozen timm backbone with weights from a safetensors file; its pooled features embed.

    The file is a state dict of the whole model, its classifier is left out. Images are brought to
    the size that the model was trained at. pixel_mean, pixel_deviation: of pixels in [0, 1],
    timm's own for this model where None; padding: timm's `pad_type`, "same" for weights that come
    from TensorFlow.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        model_name: str,
        weights: str,
        pixel_mean: float | None = None,
        pixel_deviation: float | None = None,
        padding: str = "",
    ) -> None:
        super().__init__()
        self.weights = Path(weights)
        self.backbone = create_timm("image tower", model_name, padding=padding, num_classes=0)
        config = self.backbone.pretrained_cfg
        self.image_size_px = int(config["input_size"][-1])
        self.register_buffer("mean", by_channel(config["mean"], pixel_mean))
        self.register_buffer("deviation", by_channel(config["std"], pixel_deviation))
        self.requires_grad_(False).eval()
        self.width = int(self.embed(torch.zeros(1, 3, 64, 64, device=self.mean.device)).shape[1])

    def load(self) -> None:
        """Reads the weights; FileNotFoundError, or ValueError when they do not fit."""
        heads = self.backbone.pretrained_cfg.get("classifier") or ()
        heads = (heads,) if isinstance(heads, str) else heads
        read = read_tensors(self.weights).items()
        state = {name: value for name, value in read if name.rpartition(".")[0] not in heads}
        fill(self.backbone, state, self.weights)
        self.is_loaded = True

    def await_weights(self) -> None:
        """Reads nothing: a checkpoint holds the file's weights."""
        self.is_loaded = True

    def train(self, mode: bool = True) -> "PretrainedTimmImageEncoder":
        """Stays in evaluation mode: running statistics of other data would spoil the norms."""
        return super().train(False)

    def forward(self, image: Tensor) -> Tensor:
        """Embeddings (B, D) of image (B, 3, H, W) in [-1, 1]."""
        self.check_loaded()
        return self.embed(image)

    @torch.no_grad()
    def embed(self, image: Tensor) -> Tensor:
        """What the backbone makes of image (B, 3, H, W) in [-1, 1], resized and normalised."""
        return self.backbone(normalised(image, self.image_size_px, self.mean, self.deviation))


class ClipImageEncoder(ImageEncoder):
    """CLIP's frozen image tower, by hub name or local folder (ViT-B/16: 512-d)."""

    def __init__(
        self,
        pretrained: str = "openai/clip-vit-base-patch16",
        width: int = 512,
        image_size_px: int = 224,
        patch_px: int = 16,
        layers: int = 12,
        heads: int = 12,
        hidden_width: int = 768,
    ) -> None:
        super().__init__()
        self.pretrained, self.width, self.image_size_px = pretrained, width, image_size_px
        self.tower = CLIPVisionModelWithProjection(
            CLIPVisionConfig(
                hidden_size=hidden_width,
                intermediate_size=4 * hidden_width,
                num_hidden_layers=layers,
                num_attention_heads=heads,
                image_size=image_size_px,
                patch_size=patch_px,
                projection_dim=width,
            )
        )
        self.requires_grad_(False)

    def load(self) -> None:
        """Reads the weights; ValueError when they cannot be read or do not fit."""
        name = self.pretrained
        self.tower = load_from_hub(CLIPVisionModelWithProjection, name, "", like=self.tower)
        self.is_loaded = True

    @torch.no_grad()
    def forward(self, image: Tensor) -> Tensor:
        """Embeddings (B, D) of image (B, 3, H, W) in [-1, 1], not normalised."""
        self.check_loaded()
        pixels = to_clip_pixels(image, self.image_size_px)
        return self.tower(pixel_values=pixels).image_embeds


def normalised(image: Tensor, side_px: int, mean: Tensor, deviation: Tensor) -> Tensor:
    """Image (B, 3, H, W) in [-1, 1], squashed to a square, by statistics of pixels in [0, 1]."""
    size = (side_px, side_px)
    pixels = nn.functional.interpolate(
        (image + 1) / 2, size=size, mode="bicubic", antialias=True, align_corners=False
    )
    return (pixels - mean) / deviation


def to_clip_pixels(image: Tensor, side_px: int) -> Tensor:
    """What CLIP sees of image (B, 3, H, W) in [-1, 1]."""
    mean, deviation = (image.new_tensor(one).view(3, 1, 1) for one in (CLIP_MEAN, CLIP_DEVIATION))
    return normalised(image, side_px, mean, deviation)
