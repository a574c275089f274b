"""Stage 2: frozen diffusion features become masks, and masks become words.

The diffusion model is stage 1's and does not move; pyramid, mask generator and class head learn.
"""

from functools import partial
from pathlib import Path

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn import functional

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.nets.class_head import ClassHead, answer_for_image, score_pixels
from lightning_modules.nets.diffusion_features import DiffusionFeatures
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.feature_pyramid import FeaturePyramid
from lightning_modules.nets.mask_criterion import MaskCriterion, collect_targets
from lightning_modules.nets.mask_generator import MaskGenerator, MaskQueries
from lightning_modules.nets.text_encoder import TextEmbedding
from lightning_modules.optimizers import (
    adamw,
    schedule,
    split_by_decay,
    total_steps,
    warm_up_polynomial,
)
from lightning_modules.saved_stage import SavedStage, load_part, read_stage
from lightning_modules.tiled_model import TiledModel

RANDOM = "random"


class MaskFinetune(TiledModel):
    """Mask generator on frozen features of `diffusion`, by Table 3.

    `pretrained` is a stage-1 run directory or checkpoint, or the word `random` for features of an
    untrained U-Net. `taps`, `stem` and `encoder` say what the pyramid is made of: the paper's is
    frozen diffusion features alone, naming a timm `encoder` makes it the hybrid.
    """

    stage = "mask"
    texts: Tensor
    text_class: Tensor

    def __init__(
        self,
        diffusion: DiffusionModel,
        mask_generator: MaskGenerator,
        pretrained: str,
        base_learning_rate: float = 5e-5,
        weight_decay: float = 1e-4,
        adam_betas: tuple[float, float] = (0.9, 0.999),
        lr_schedule_power: float = 0.9,
        warmup_steps: int = 500,
        feature_timestep: int = 50,
        loss_weight_mask: float = 1.0,
        loss_weight_cls: float = 0.5,
        good_weight: float = 0.1,
        point_count: int = 12_544,
        taps: str = "unet",
        stem: bool = False,
        encoder: str = "",
        tile_px: int = 512,
        tile_overlap_px: int = 128,
        tile_batch_size: int = 16,
    ) -> None:
        super().__init__(tile_px, tile_overlap_px, tile_batch_size, stride=diffusion.stride)
        self.pretrained, self.encoder = pretrained, encoder
        self.base_learning_rate = base_learning_rate
        self.weight_decay = weight_decay
        self.adam_betas = adam_betas
        self.lr_schedule_power = lr_schedule_power
        self.warmup_steps = warmup_steps
        self.loss_weight_mask = loss_weight_mask
        self.loss_weight_cls = loss_weight_cls
        self.criterion = MaskCriterion(
            point_count=point_count, good_weight=good_weight, name_weight=loss_weight_cls
        )
        self.features = DiffusionFeatures(diffusion, feature_timestep, taps)
        self.pyramid = FeaturePyramid(
            tap_channels=self.features.channels,
            tap_strides=self.features.strides,
            width=mask_generator.width,
            strides=mask_generator.strides,
            stem=stem,
            encoder=encoder,
        )
        self.mask_generator = mask_generator
        self.class_head = ClassHead(mask_generator.width, diffusion.text_encoder.width)
        self.register_buffer("texts", torch.zeros(0), persistent=False)
        self.register_buffer("text_class", torch.zeros(0), persistent=False)

    def tags(self) -> dict[str, str]:
        """What the pyramid is made of, and where its frozen features come from."""
        extras = ["stem"] if self.pyramid.stem else []
        extras += [self.encoder] if self.encoder else []
        return {"pyramid": "+".join(["diffusion", *extras]), "pretrained": self.pretrained}

    def parts(self) -> dict[str, nn.Module]:
        """The components of Table 3 by name."""
        diffusion = self.features.diffusion
        return {
            "diffusion U-Net": diffusion.denoiser,
            "autoencoder": diffusion.autoencoder,
            "text encoder": diffusion.text_encoder,
            "image encoder": diffusion.image_encoder,
            "implicit captioner": diffusion.captioner,
            "pyramid": self.pyramid,
            "mask generator": self.mask_generator,
            "class head": self.class_head,
        }

    def load(self) -> None:
        """Reads hub weights of the frozen parts, then stage 1's EMA weights over them."""
        diffusion = self.features.diffusion
        diffusion.load()
        if self.pretrained != RANDOM:
            load_part(diffusion, "diffusion.", read_pretrained(self.pretrained))

    def measure(self, image: Tensor) -> None:
        """Fits the scale of an autoencoder that no stage 1 has fitted; image in [-1, 1]."""
        if self.pretrained == RANDOM:
            self.features.diffusion.measure(image)

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Names masks from this list from now on; nothing is trained or rebuilt."""
        super().set_vocabulary(vocabulary)
        texts, classes = [], []
        for class_id in range(len(vocabulary)):
            for templates in vocabulary.prompts(class_id):
                embedding: TextEmbedding = self.features.diffusion.text_encoder(templates)
                unit = functional.normalize(embedding.pooled, dim=-1).mean(0)
                texts.append(functional.normalize(unit, dim=-1))
                classes.append(class_id)
        self.texts = torch.stack(texts).detach().to(self.device)
        self.text_class = torch.tensor(classes, device=self.device)

    def restore(self, saved: SavedStage) -> None:
        """Fills the model with what a checkpoint saved, over the hub weights of frozen parts."""
        self.features.diffusion.await_weights()
        super().restore(saved)

    def forward(self, image: Tensor) -> tuple[MaskQueries, Tensor]:
        """Mask queries and class logits (S, B, Q, K+1) of image (B, 3, H, W) in [-1, 1]."""
        pyramid = self.pyramid(image, self.features(image))
        outputs: MaskQueries = self.mask_generator(pyramid)
        return outputs, self.class_head(outputs, self.texts, self.text_class)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """L = L_mask + 0.5 L_cls, L_mask = cross-entropy + dice, on all prediction sets."""
        outputs, logits = self(batch.image)
        targets = collect_targets(batch.mask, batch.has_mask, batch.class_ids)
        point_count = self.criterion.point_count * (1 + self.criterion.oversampling)
        points = torch.rand(len(batch.image), point_count, 2, device=self.device)
        losses = self.criterion(outputs.masks, logits, targets, points)
        loss_mask, loss_cls = losses.mask + losses.dice, losses.name + losses.answer
        loss = self.loss_weight_mask * loss_mask + self.loss_weight_cls * loss_cls
        self.log_dict(
            {
                "mask/train/loss": loss.detach(),
                "mask/train/loss_mask": losses.mask.detach(),
                "mask/train/loss_dice": losses.dice.detach(),
                "mask/train/loss_name": losses.name.detach(),
                "mask/train/loss_answer": losses.answer.detach(),
            },
            batch_size=len(batch.image),
        )
        return loss

    @torch.no_grad()
    def score_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Type maps (T, K, s, s) in [0, 1] and answers (T, K+1) of tiles (T, 3, s, s)."""
        outputs, logits = self(tiles)
        masks = functional.interpolate(
            outputs.masks[-1], size=tiles.shape[-2:], mode="bilinear", align_corners=False
        )
        maps = score_pixels(masks.float(), logits[-1].float())
        return maps, answer_for_image(logits[-1].float()).softmax(-1)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and polynomial decay; norms, biases and embeddings do not decay."""
        groups = split_by_decay(self, self.weight_decay)
        optimizer = adamw(groups, lr=self.base_learning_rate, betas=self.adam_betas)
        curve = partial(
            warm_up_polynomial,
            warmup_steps=self.warmup_steps,
            total_steps=total_steps(self.trainer),
            power=self.lr_schedule_power,
        )
        return schedule(optimizer, curve)


def read_pretrained(name: str) -> SavedStage:
    """Stage 1 as saved in the run directory or checkpoint `name`, of a two-stage run too.

    Raises FileNotFoundError or ValueError when it is missing, broken, or another stage.
    """
    path = Path(name)
    saved = read_stage(path / "pretrain" if (path / "pretrain").is_dir() else path)
    if saved.stage != "pretrain":
        raise ValueError(
            f"pretrained is {name}, which holds stage {saved.stage!r}: expected the run directory "
            f"of a stage 1, or the word {RANDOM!r} for an untrained U-Net"
        )
    return saved
