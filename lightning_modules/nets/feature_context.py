"""What the denoiser reads beside the latents when features are taken: a pseudo-caption, or no text.

What is done with them is in `diffusion_features.py`.
"""

from collections.abc import Callable

from torch import Tensor

from lightning_modules.nets.conditioning import implicit_condition
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.text_encoder import TextEmbedding

FeatureContext = Callable[[DiffusionModel, Tensor], TextEmbedding]


def pseudo_captions(model: DiffusionModel, image: Tensor) -> TextEmbedding:
    """The implicit caption of each image (B, 3, H, W), as a text of one token."""
    return implicit_condition(model.caption(image))


def no_text(model: DiffusionModel, image: Tensor) -> TextEmbedding:
    """The empty text for each image, as the null condition of stage 1 is (NOTES 3)."""
    null, count = model.text_encoder([""]), len(image)
    return TextEmbedding(
        null.tokens.expand(count, -1, -1),
        null.mask.expand(count, -1),
        null.pooled.expand(count, -1),
    )


CONTEXTS: dict[str, FeatureContext] = {"implicit": pseudo_captions, "none": no_text}
