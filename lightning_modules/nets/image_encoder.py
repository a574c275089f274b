"""Image towers in front of the implicit captioner: timm nets, learning or frozen, and CLIP's."""

import difflib
from collections.abc import Iterable
from typing import Any, TypeAlias

import timm
import torch
from torch import Tensor, nn
from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

from lightning_modules.known_weights import VISION_WEIGHTS, architecture_of, weights_file
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
    from TensorFlow and whose name in timm does not say so.
    """
    if padding:
        settings["pad_type"] = padding
    try:
        return timm.create_model(model_name, pretrained=False, **settings)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ValueError(
            f"{part} {model_name!r} with settings {settings} cannot be made "
            f"({str(error).splitlines()[0]}): expected {expected}{such_as(model_name)}"
        ) from error


def such_as(name: str, others: Iterable[str] = ()) -> str:
    """The words "such as" and up to three of timm's names, and of others, like this one."""
    near = difflib.get_close_matches(name, [*timm.list_models(), *others], cutoff=0.5)
    return f" such as {', '.join(near)}" if near else ""


def timm_name(model_name: str, weights: str) -> str:
    """The net of a configuration: as it says, or the one that known weights fit; ValueError."""
    name = model_name or architecture_of(weights)
    if not name:
        raise ValueError(
            f"weights {weights!r} do not say which net they fit: name it as well, by timm's name, "
            f"or take one of {', '.join(VISION_WEIGHTS)}"
        )
    return name


def read_timm(backbone: nn.Module, weights: str) -> None:
    """Fills a timm net, or the part of it that makes maps, with the weights of this word.

    What comes after the last map, a classifier, is left aside. Raises FileNotFoundError, or
    ValueError where the weights do not fit.
    """
    file, known = weights_file(weights), backbone.state_dict()
    fill(backbone, {n: value for n, value in read_tensors(file).items() if n in known}, file)


class PixelStatistics(nn.Module):
    """Pixels as a timm net's weights expect them, by timm's mean and deviation in [0, 1]."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, backbone: TimmNet) -> None:
        super().__init__()
        for name, key in (("mean", "mean"), ("deviation", "std")):
            values = torch.tensor(backbone.pretrained_cfg[key]).view(3, 1, 1)
            self.register_buffer(name, values, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Normalised pixels of image (B, 3, H, W) in [-1, 1]."""
        return ((image + 1) / 2 - self.mean) / self.deviation


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
    """A frozen timm backbone with weights; its pooled features are the embedding.

    weights: a known name (`efficientnet_lite0`), a safetensors file or folder, or a repository of
    the hub; model_name: timm's name of the net, "" for the one of known weights. Images are brought
    to a square of `image_size_px`, 0 for what the net was trained at, and to timm's pixel
    statistics for it.
    """

    def __init__(self, weights: str, model_name: str = "", image_size_px: int = 0) -> None:
        super().__init__()
        self.weights = weights
        name = timm_name(model_name, weights)
        self.backbone = create_timm("image tower", name, num_classes=0)
        trained_px = int(self.backbone.pretrained_cfg["input_size"][-1])
        self.image_size_px = image_size_px or trained_px
        self.pixels = PixelStatistics(self.backbone)
        self.requires_grad_(False).eval()
        probe = torch.zeros(1, 3, 64, 64, device=self.pixels.mean.device)
        self.width = int(self.embed(probe).shape[1])

    def load(self) -> None:
        """Reads the weights; FileNotFoundError, or ValueError when they do not fit."""
        read_timm(self.backbone, self.weights)
        self.is_loaded = True

    def await_weights(self) -> None:
        """Reads nothing: a checkpoint holds the weights."""
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
        return self.backbone(self.pixels(resized(image, self.image_size_px)))


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


def resized(image: Tensor, side_px: int) -> Tensor:
    """Image (B, 3, H, W) squashed to a square."""
    size = (side_px, side_px)
    if image.shape[-2:] == size:
        return image
    return nn.functional.interpolate(
        image, size=size, mode="bicubic", antialias=True, align_corners=False
    )


def to_clip_pixels(image: Tensor, side_px: int) -> Tensor:
    """What CLIP sees of image (B, 3, H, W) in [-1, 1]."""
    mean, deviation = (image.new_tensor(one).view(3, 1, 1) for one in (CLIP_MEAN, CLIP_DEVIATION))
    return (resized((image + 1) / 2, side_px) - mean) / deviation
