"""PromptAD (CVPR 2024): a few good parts, and prompts that learn to say what is not like them."""

from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Literal

import torch
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor
from torch.nn import functional
from torch.optim.lr_scheduler import CosineAnnealingLR

from datamodules.sample import Batch
from lightning_modules.anomaly_module import AnomalyModule
from lightning_modules.equations.anomaly_maps import blurred, resize_maps
from lightning_modules.equations.prompt_learning import (
    alignment_loss,
    contrast_loss,
    gallery_distances,
    harmonic,
    margin_loss,
    odd_share,
    prototypes,
)
from lightning_modules.nets.learned_prompts import LearnedPrompts, PromptTexts
from lightning_modules.nets.patch_tokens import check_layers
from lightning_modules.nets.whole_clip import WholeClip, value_value_tokens
from lightning_modules.weights_io import SavedStage

STATES = (
    *("damaged {}", "flawed {}", "abnormal {}", "imperfect {}", "blemished {}"),
    *("{} with flaw", "{} with defect", "{} with damage"),
)
FEWEST_SHOTS = 2


@dataclass(frozen=True, slots=True)
class Seen:
    """Unit vectors of images (B, D), of places (B, h, w, D) and of middle layers (M, B, h * w, C).

    The first two lie in the space of texts.
    """

    images: Tensor
    places: Tensor
    middle: Tensor


class PromptAd(AnomalyModule):
    """Learned words before the frozen text tower, and a gallery of what `shots` good parts show.

    pretrained: CLIP by hub name or local folder; part_name: the word for what the images show;
    part_states: how it may be damaged beside the general `STATES`, `{}` for its name. Two sets of
    prompts learn side by side, for whole images (image_prompts of them) and for places
    (place_prompts), of good_tokens each, both with odd_prompts of odd_tokens. logit_scale: `raw`,
    CLIP's logarithm of its temperature, as the published code has it, or `exp`. gallery_layers:
    whose tokens the gallery holds, as they are after a layer's attention. optimizer: `adamw`, or
    the authors' `sgd` with a cosine to a rate of 1e-5. Departs from the published code: colours
    have one order, the last weights are kept, not those that were best at the test, and an image is
    seen whole as a square.
    """

    stage = "prompt_ad"
    collected = (*AnomalyModule.collected, "_seen")
    gallery: Tensor
    texts: Tensor
    image_prompts: LearnedPrompts
    place_prompts: LearnedPrompts

    def __init__(
        self,
        pretrained: str = "openai/clip-vit-base-patch16",
        part_name: str = "object",
        part_states: tuple[str, ...] = (),
        shots: int = 4,
        image_prompts: int = 3,
        place_prompts: int = 1,
        good_tokens: int = 10,
        odd_prompts: int = 4,
        odd_tokens: int = 1,
        alignment_weight: float = 1e-3,
        logit_scale: Literal["raw", "exp"] = "raw",
        gallery_layers: tuple[int, ...] = (3, 8),
        optimizer: Literal["adamw", "sgd"] = "adamw",
        base_learning_rate: float = 1e-4,
        blur_sigma_px: float = 2.24,
        image_size_px: int = 0,
        batch_size: int = 8,
    ) -> None:
        super().__init__(image_size_px, batch_size)
        if shots < FEWEST_SHOTS:
            raise ValueError(
                f"shots is {shots}: expected {FEWEST_SHOTS} or more, as 0.5 is set by what good "
                "images score beside each other"
            )
        self.automatic_optimization = True
        self.clip, self.shots, self.logit_scale = WholeClip(pretrained), shots, logit_scale
        self._new_prompts = partial(
            LearnedPrompts,
            part_name,
            (*STATES, *part_states),
            good_tokens=good_tokens,
            odd_count=odd_prompts,
            odd_tokens=odd_tokens,
        )
        self._prompt_counts = image_prompts, place_prompts
        self.alignment_weight, self.gallery_layers = alignment_weight, gallery_layers
        self.optimizer_name, self.base_learning_rate = optimizer, base_learning_rate
        self.blur_sigma_px = blur_sigma_px
        self.register_buffer("gallery", torch.zeros(0))  # (M, shots, h * w, C)
        self.register_buffer("texts", torch.zeros(0))  # (2, 2, D): of images, of places
        self._seen: list[Tensor] = []

    def tags(self) -> dict[str, str]:
        """Which CLIP, and how many good parts it is shown."""
        return {"clip": self.clip.pretrained, "shots": str(self.shots)}

    def load(self) -> None:
        """Reads CLIP's weights and makes new prompts as wide as they are; ValueError."""
        self.clip.load()
        self.tile_px = self.clip.square_px(self.tile_px)
        vision = self.clip.model.vision_model.config
        check_layers(self.clip.pretrained, self.gallery_layers, vision.num_hidden_layers)
        width = self.clip.model.text_model.config.hidden_size
        self.image_prompts, self.place_prompts = (
            self._new_prompts(width, good_count=count) for count in self._prompt_counts
        )
        place_count = (self.tile_px // vision.patch_size) ** 2
        size = (len(self.gallery_layers), self.shots, place_count, vision.hidden_size)
        self.gallery = torch.zeros(size)
        self._keep_texts()

    def restore(self, saved: SavedStage) -> None:
        """Reads CLIP's weights, of which a checkpoint holds none, then as any other."""
        self.load()
        super().restore(saved)

    def check_processes(self, count: int) -> None:
        """ValueError for several: each would see some of the few good parts."""
        if count > 1:
            raise ValueError(
                f"got {count} processes, expected one: {self.shots} good images are not split; set "
                "trainer.devices to 1"
            )

    @property
    def scale(self) -> Tensor:
        """What cosines are multiplied by before a softmax."""
        clip = self.clip
        return clip.scale if self.logit_scale == "exp" else clip.model.logit_scale

    def see(self, images: Tensor) -> Seen:
        """What the frozen image tower makes of images (B, 3, s, s) in [-1, 1]."""
        attended: list[Tensor] = []
        tower = partial(value_value_tokens, attended=attended)
        vectors, places = self.clip.embed_patches(images, tower, image_size_px=self.tile_px)
        middle = torch.stack([attended[layer][:, 1:].float() for layer in self.gallery_layers])
        return Seen(vectors, places, functional.normalize(middle, dim=-1))

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """The losses of whole images by their prompts and of places by theirs."""
        seen = self.see(batch.image)
        self._seen.append(seen.middle)
        images = self._loss(self.image_prompts(self.clip), seen.images)
        places = self._loss(self.place_prompts(self.clip), seen.places.flatten(0, 2))
        self.log("mask/train/loss_images", images.detach(), batch_size=len(batch.image))
        self.log("mask/train/loss_places", places.detach(), batch_size=len(batch.image))
        return images + places

    def _loss(self, texts: PromptTexts, vectors: Tensor) -> Tensor:
        """What the texts cost at vectors (N, D) of good parts."""
        good, odd = prototypes(texts.good, texts.odd)
        loss = contrast_loss(vectors, good, texts.odd, self.scale)
        loss = loss + margin_loss(vectors, good, odd)
        return loss + self.alignment_weight * alignment_loss(texts.handmade, texts.learned)

    def learn_from_epoch(self) -> None:
        """Keeps what was seen and what the prompts say; then the curves.

        ValueError for another number of images than `shots`.
        """
        seen = torch.cat(self._seen, dim=1)
        if seen.shape[1] != self.shots:
            raise ValueError(
                f"got {seen.shape[1]} good images, expected {self.shots}: set "
                "data.init_args.image_budget and model.init_args.shots to one number, give it more "
                "good images, or let training end with an epoch"
            )
        self.gallery = seen
        self._keep_texts()
        super().learn_from_epoch()

    @torch.no_grad()
    def _keep_texts(self) -> None:
        """Takes the prototypes that the prompts make now."""
        sets = [prompts(self.clip) for prompts in (self.image_prompts, self.place_prompts)]
        self.texts = torch.stack([prototypes(one.good, one.odd) for one in sets])

    def score(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Harmonic means of what the texts and what the gallery say, of places and of images."""
        return self._score(images, self.gallery)

    def score_shown(self) -> tuple[Tensor, Tensor]:
        """Scores of the good images that were kept by what the others showed."""
        pairs = []
        for place, image in enumerate(self._shown):
            others = torch.arange(self.shots, device=self.gallery.device) != place
            pairs.append(self._score(image[None], self.gallery[:, others]))
        maps, scores = zip(*pairs, strict=True)
        return torch.cat(maps), torch.cat(scores)

    @torch.no_grad()
    def _score(self, images: Tensor, gallery: Tensor) -> tuple[Tensor, Tensor]:
        """Maps and scores by a gallery (M, N, h * w, C)."""
        seen, side_px = self.see(images), images.shape[-1]
        of_images, of_places = self.texts
        layers = zip(seen.middle, gallery.flatten(1, 2), strict=True)
        visual = torch.stack([gallery_distances(*layer) for layer in layers]).mean(0)
        visual = visual.unflatten(1, seen.places.shape[1:3])
        textual = odd_share(seen.places, of_places, self.scale)
        maps = blurred(resize_maps(harmonic(textual, visual), side_px), self.blur_sigma_px)
        peaks = resize_maps(visual, side_px).amax((1, 2))
        return maps, harmonic(odd_share(seen.images, of_images, self.scale), peaks)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """AdamW at one rate; or the authors' SGD, whose rate falls epoch by epoch."""
        prompts = chain(self.image_prompts.parameters(), self.place_prompts.parameters())
        rate = self.base_learning_rate
        if self.optimizer_name == "adamw":
            return torch.optim.AdamW(prompts, lr=rate)
        epochs = self.trainer.max_epochs
        if not epochs or epochs < 1:
            raise ValueError(
                f"got max_epochs {epochs}, expected 1 or more: the rate of sgd falls with the "
                "epochs; set trainer.max_epochs"
            )
        sgd = torch.optim.SGD(prompts, lr=rate, momentum=0.9, weight_decay=5e-4)
        cosine = CosineAnnealingLR(sgd, T_max=epochs, eta_min=1e-5)
        return {"optimizer": sgd, "lr_scheduler": {"scheduler": cosine, "interval": "epoch"}}
