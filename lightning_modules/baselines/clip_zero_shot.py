"""CLIP without training: each patch weighed between words for good parts and for damaged ones.

The words are WinCLIP's (Jeong et al., CVPR 2023); its windows are not here.
"""

import torch
from torch import Tensor
from torch.nn import functional

from datamodules.vocabulary import Vocabulary
from lightning_modules.nets.naming import embed_prompts
from lightning_modules.nets.whole_clip import TOWERS, WholeClip
from lightning_modules.segmentation_module import SegmentationModule
from lightning_modules.weights_io import SavedStage

GOOD_STATES = (
    *("{}", "flawless {}", "perfect {}", "unblemished {}"),
    *("{} without flaw", "{} without defect", "{} without damage"),
)
DAMAGED_STATES = ("damaged {}", "{} with flaw", "{} with defect", "{} with damage")
KINDS = ("cropped", "close-up", "bright", "dark", "jpeg corrupted", "blurry")
ARTICLES = ("a", "the")
TEMPLATES = (
    *(f"a {kind} photo of {article} {{}}" for kind in KINDS for article in ARTICLES),
    *(f"a photo of {article} {{}}" for article in ARTICLES),
    *(f"a photo of {article} {size} {{}}" for size in ("small", "large") for article in ARTICLES),
    *(f"a photo of {article} {{}} for visual inspection" for article in ARTICLES),
    *(f"a photo of {article} {{}} for anomaly detection" for article in ARTICLES),
)


class ClipZeroShot(SegmentationModule):
    """CLIP by hub name or local folder, as it is.

    mode: whose patches make the map, `vanilla`: the tower's own, which can't place anything, or
    `vv`: those of attention among values (`nets/whole_clip.py`). part_name: the word for what the
    images show. An image is seen whole, as a square of `image_size_px`, 0 for what CLIP was trained
    at. calibrate: take thresholds from the validation images; otherwise both are 0.5, as for a
    system that saw no image. Types are named by the whole image.
    """

    stage = "clip_zero_shot"
    sees_whole = True

    def __init__(
        self,
        pretrained: str = "openai/clip-vit-base-patch16",
        mode: str = "vanilla",
        part_name: str = "object",
        image_size_px: int = 0,
        batch_size: int = 8,
        calibrate: bool = False,
        good_states: tuple[str, ...] = GOOD_STATES,
        damaged_states: tuple[str, ...] = DAMAGED_STATES,
        templates: tuple[str, ...] = TEMPLATES,
        name_template: str = "a photo of a {} with {}",
    ) -> None:
        super().__init__(image_size_px, 0, batch_size)
        if mode not in TOWERS:
            raise ValueError(f"mode of clip is {mode!r}: expected {' or '.join(TOWERS)}")
        self.clip, self.mode, self.calibrates = WholeClip(pretrained), mode, calibrate
        self.part_name, self.name_template = part_name, name_template
        self.states, self.templates = (good_states, damaged_states), templates
        # The score of an image is that of its class token.
        self.post_processing.peak_share = 0.0
        self.condition_texts = self.name_texts = torch.zeros(0)

    def tags(self) -> dict[str, str]:
        """Which CLIP, and which of its patches."""
        return {"clip": self.clip.pretrained, "clip_mode": self.mode}

    def load(self) -> None:
        """Reads the weights and embeds the words for good and damaged; ValueError in one line."""
        self.clip.load()
        self.tile_px = self.clip.square_px(self.tile_px)
        self.condition_texts = embed_prompts(self.clip.embed_texts, self.condition_prompts())

    def condition_prompts(self) -> list[list[str]]:
        """The texts that say good, and those that say damaged: each state in each template."""
        return [
            [one.format(state.format(self.part_name)) for state in states for one in self.templates]
            for states in self.states
        ]

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Names images from these words; RuntimeError before `load`."""
        super().set_vocabulary(vocabulary)
        prompts = [
            [self.name_template.format(self.part_name, word) for word in words]
            for words in (*vocabulary.entries[1:], *((word,) for word in vocabulary.negatives))
        ]
        self.name_texts = embed_prompts(self.clip.embed_texts, prompts)

    def restore(self, saved: SavedStage) -> None:
        """Reads CLIP's weights, of which a checkpoint holds none, then as any other."""
        self.load()
        super().restore(saved)

    @torch.no_grad()
    def score_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (T, K, h, w) of patches and answers (T, K+1) of whole images (T, 3, s, s)."""
        tower = TOWERS[self.mode]
        image, patches = self.clip.embed_patches(tiles, tower, image_size_px=self.tile_px)
        damaged_image, damaged = (
            self.match(one, self.condition_texts)[..., 1] for one in (image, patches)
        )
        shares = self.match(image, self.name_texts)
        best = functional.one_hot(shares.argmax(1), shares.shape[1])
        # What looks like a negative word, which comes after the names, is no defect.
        shares, best = (one[:, : len(self.vocabulary or ()) - 1] for one in (shares, best))
        named = damaged_image[:, None] * shares
        answer = torch.cat([1 - named.sum(1, keepdim=True), named], dim=1)
        return damaged[:, None] * best[:, :, None, None], answer

    def match(self, vectors: Tensor, texts: Tensor) -> Tensor:
        """The share of each text (N, D) in unit vectors (..., D), (..., N)."""
        return (self.clip.scale * vectors @ texts.to(vectors).T).softmax(-1)
