"""Nets that images are compared by: pixels -> features and class scores, weights from local files.

What is computed from features is in `metrics/`; which file and settings a command names is in
`experiments/fidelity.py`. Nothing is downloaded here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import timm
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lightning_modules.nets.image_encoder import create_timm
from lightning_modules.weights_io import UNREADABLE, check_is_file, fill, read_tensors

INCEPTION = "inception"
INCEPTION_FILE = "weights-inception-2015-12-05-6726825d.pth of torch-fidelity's release v0.2.0"


def by_channel(values: Sequence[float], value: float | None) -> Tensor:
    """Statistics (3, 1, 1) of pixels in [0, 1]: timm's `values`, or one for all where given."""
    return torch.tensor(values if value is None else [value] * 3).view(3, 1, 1)


@dataclass(frozen=True, slots=True)
class Features:
    """What a net makes of B images.

    features: (B, D); logits: (B, K) class scores before the softmax, None from a net without
    classes.
    """

    features: Tensor
    logits: Tensor | None


class FeatureExtractor(nn.Module):
    """A frozen net; `name` goes into the metrics' names, `input_px` is the side it looks at."""

    name: str
    input_px: int

    @torch.no_grad()
    def forward(self, pixels: Tensor) -> Features:
        """What the net sees in pixels (B, 3, H, W), uint8, squeezed to a square if they are none.

        The one way in for real and generated images alike. Departs from the old Inception
        graphs, whose resize aliases: images come anti-aliased and at the net's size already.
        """
        return self.look(resize_levels(pixels, self.input_px))

    def look(self, levels: Tensor) -> Features:
        """What the net sees in levels (B, 3, S, S), float, whole numbers in [0, 255]."""
        raise NotImplementedError


class TimmExtractor(FeatureExtractor):
    """A timm classifier; its pooled features before the last layer, and its class scores.

    pixel_mean, pixel_deviation: of pixels in [0, 1], timm's own for this model where None;
    padding: timm's `pad_type`, "same" for weights that come from TensorFlow.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(
        self,
        model_name: str,
        weights: Path,
        *,
        pixel_mean: float | None = None,
        pixel_deviation: float | None = None,
        padding: str = "",
    ) -> None:
        """Raises FileNotFoundError, or ValueError for a name or weights that do not fit."""
        super().__init__()
        self.name = model_name
        state = read_tensors(weights)
        count = count_classes(model_name, state)
        self.net = create_timm(
            "extractor",
            model_name,
            padding=padding,
            expected=f"{INCEPTION!r} or a timm name",
            num_classes=count,
        )
        config = self.net.pretrained_cfg
        self.input_px = int(config["input_size"][-1])
        self.register_buffer("mean", by_channel(config["mean"], pixel_mean))
        self.register_buffer("deviation", by_channel(config["std"], pixel_deviation))
        fill(self.net, state, weights)
        self.requires_grad_(False).eval()

    def look(self, levels: Tensor) -> Features:
        """Pooled features and class scores of levels (B, 3, S, S) in [0, 255]."""
        maps = self.net.forward_features((levels / 255 - self.mean) / self.deviation)
        features = self.net.forward_head(maps, pre_logits=True)
        classifier = self.net.get_classifier()
        has_classes = not isinstance(classifier, nn.Identity)
        return Features(features.flatten(1), classifier(features) if has_classes else None)


class InceptionExtractor(FeatureExtractor):
    """torch-fidelity's "inception-v3-compat", by which published FID, KID and IS are measured."""

    def __init__(self, weights: Path) -> None:
        """Raises FileNotFoundError, or ValueError where torch-fidelity or its weights fail."""
        super().__init__()
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ImportError as error:
            raise ValueError(
                "extractor 'inception' needs torch-fidelity, which is not installed: "
                "pip install 'torch-fidelity>=0.4', or name a timm model and its weights"
            ) from error
        check_is_plain(weights)
        kinds = ["2048", "logits_unbiased"]
        try:
            self.net = FeatureExtractorInceptionV3(
                "inception-v3-compat", kinds, feature_extractor_weights_path=str(weights)
            )
        except RuntimeError as error:
            raise ValueError(
                f"weights {weights} do not fit Inception v3: expected {INCEPTION_FILE}"
            ) from error
        self.name = INCEPTION
        self.input_px = int(FeatureExtractorInceptionV3.INPUT_IMAGE_SIZE)
        self.requires_grad_(False).eval()

    def look(self, levels: Tensor) -> Features:
        """The 2048 features and the scores without bias, as IS takes them."""
        features, logits = self.net(levels.to(torch.uint8))
        return Features(features, logits)


def resize_levels(pixels: Tensor, side_px: int) -> Tensor:
    """Pixels (B, 3, H, W) of [0, 255] as (B, 3, side_px, side_px) float, anti-aliased, rounded."""
    levels = pixels.float()
    if levels.shape[-2:] != (side_px, side_px):
        size = (side_px, side_px)
        levels = F.interpolate(levels, size=size, mode="bicubic", antialias=True)
    return levels.round().clamp(0, 255)


def count_classes(model_name: str, state: dict[str, Tensor]) -> int:
    """The number of classes that the weights of a timm model name, 0 without a last layer."""
    config = timm.get_pretrained_cfg(model_name)
    head = state.get(f"{config.classifier}.weight") if config else None
    return 0 if head is None else len(head)


def check_is_plain(path: Path) -> None:
    """ValueError unless the file holds tensors only: torch-fidelity would run what it pickles.

    Its own file is older than the archives that `weights_io.py` reads.
    """
    check_is_file(path)
    try:
        torch.load(path, map_location="cpu", weights_only=True)
    except UNREADABLE as error:
        raise ValueError(
            f"weights {path} are not a file of plain tensors: expected {INCEPTION_FILE}"
        ) from error
