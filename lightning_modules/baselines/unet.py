"""The plain answer: a segmentation-models-pytorch U-Net on a closed list of types."""

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from segmentation_models_pytorch.losses import DiceLoss
from torch import Tensor
from torch.nn import functional

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.nets.segmentation_unet import ENCODER_STRIDE, SegmentationUnet
from lightning_modules.optimizers import fine_tuning
from lightning_modules.segmentation_module import SegmentationModule, check_closed_list


class Unet(SegmentationModule):
    """U-Net with cross-entropy plus dice; encoder_name, weights: as in `SegmentationUnet`."""

    stage = "unet"

    def __init__(
        self,
        encoder_name: str = "resnet18",
        weights: str = "",
        class_count: int = 6,
        base_learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        warmup_steps: int = 100,
        tile_px: int = 128,
        tile_overlap_px: int = 32,
        tile_batch_size: int = 16,
    ) -> None:
        super().__init__(tile_px, tile_overlap_px, tile_batch_size, stride=ENCODER_STRIDE)
        self.class_count = class_count
        self.base_learning_rate = base_learning_rate
        self.weight_decay = weight_decay
        self.warmup_steps = warmup_steps
        self.net = SegmentationUnet(encoder_name, weights, class_count)
        self.dice = DiceLoss("multiclass", classes=list(range(1, class_count)), smooth=0.5)

    def tags(self) -> dict[str, str]:
        """The encoder, and where its weights come from."""
        return {
            "encoder": self.net.encoder_name,
            "encoder_weights": self.net.weights or "random",
        }

    def load(self) -> None:
        """Reads the encoder's weights, where some are named; FileNotFoundError, or ValueError."""
        self.net.read_weights()

    def check_vocabulary(self, vocabulary: Vocabulary) -> None:
        """ValueError for another count of names, or later for others: the list is closed."""
        check_closed_list(vocabulary, known=self.vocabulary, class_count=self.class_count)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Cross-entropy plus dice of the defects in sight, on pixels whose mask is known."""
        known = batch.has_mask  # known good parts have one, unlabelled images none
        if not known.any():
            return self.net(batch.image).sum() * 0.0
        logits, mask = self.net(batch.image[known]), batch.mask[known]
        loss = functional.cross_entropy(logits, mask) + self.dice(logits, mask)
        self.log("mask/train/loss", loss.detach(), batch_size=len(batch.image))
        return loss

    @torch.no_grad()
    def score_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Type maps (T, K, s, s) and answers (T, K+1): an image has the type of its best pixel."""
        probability = self.net(tiles).softmax(1)
        maps = probability[:, 1:]
        best = maps.flatten(2).amax(-1)
        good = 1 - best.amax(-1, keepdim=True)
        answer = torch.cat([good, best], dim=-1)
        return maps, answer / answer.sum(-1, keepdim=True)

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW with warm-up and polynomial decay, as stage 2."""
        return fine_tuning(
            self,
            lr=self.base_learning_rate,
            weight_decay=self.weight_decay,
            warmup_steps=self.warmup_steps,
        )
