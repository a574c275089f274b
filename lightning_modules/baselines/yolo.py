"""YOLOv8 as a baseline: boxes and their names from the whole image, on a closed list of types."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional

from datamodules.sample import Batch, Prediction
from datamodules.vocabulary import Vocabulary
from lightning_modules.equations.box_losses import Truth, box_losses, expected_distances, to_boxes
from lightning_modules.metrics.regions import find_regions
from lightning_modules.nets.box_prediction import (
    best_boxes,
    from_square,
    letterboxed,
    listed_instances,
    predict_from_boxes,
)
from lightning_modules.nets.mosaic import mixup, mosaic
from lightning_modules.nets.post_processing import OperatingPoints, TypeThresholds
from lightning_modules.nets.yolo_net import STRIDES, Size, YoloNet
from lightning_modules.optimizers import (
    schedule,
    split_by_decay,
    steps_per_epoch,
    total_steps,
    warm_up_cosine,
)
from lightning_modules.segmentation_module import SegmentationModule, check_closed_list

# Until they are calibrated; at this score boxes are usually shown.
THRESHOLD = 0.25
# The rate of biases and the momentum at the first step.
FIRST_BIAS_RATE, FIRST_MOMENTUM = 0.1, 0.8


class Yolo(SegmentationModule):
    """YOLOv8 of a size n, s, m or l, trained from random weights on boxes of the masks' regions.

    class_count: with good. The image is seen whole, letterboxed to a square; a region is its filled
    box. Every box counts for the mean average precision; listed are those that reach their
    thresholds. The gradient is that of a sum over nominal_batch_size images, whatever the batch;
    last_rate_share: of the base rate, where its cosine ends; plain_epochs: the last ones, without
    mosaic and mixup.
    """

    stage = "yolo"
    sees_whole = True

    def __init__(
        self,
        class_count: int = 6,
        size: Size = "m",
        base_learning_rate: float = 1e-2,
        last_rate_share: float = 1e-3,
        momentum: float = 0.937,
        weight_decay: float = 5e-4,
        warmup_epochs: float = 3.0,
        nominal_batch_size: int = 64,
        loss_weight_fit: float = 7.5,
        loss_weight_names: float = 0.5,
        loss_weight_distances: float = 1.5,
        mosaic_probability: float = 0.8,
        mixup_probability: float = 0.15,
        plain_epochs: int = 10,
        image_size_px: int = 640,
        batch_size: int = 8,
    ) -> None:
        super().__init__(image_size_px, 0, batch_size, stride=STRIDES[-1])
        self.net = YoloNet(class_count - 1, size)
        self.class_count, self.size = class_count, size
        self.base_learning_rate, self.last_rate_share = base_learning_rate, last_rate_share
        self.momentum, self.weight_decay = momentum, weight_decay
        self.warmup_epochs, self.warmup_steps = warmup_epochs, 0
        self.nominal_batch_size = nominal_batch_size
        self.loss_weight_fit = loss_weight_fit
        self.loss_weight_names = loss_weight_names
        self.loss_weight_distances = loss_weight_distances
        self.mosaic_probability, self.mixup_probability = mosaic_probability, mixup_probability
        self.plain_epochs = plain_epochs
        self.post_processing.calibrate(OperatingPoints(TypeThresholds(THRESHOLD), THRESHOLD))

    def tags(self) -> dict[str, str]:
        """The size of the net."""
        return {"size": self.size}

    def check_vocabulary(self, vocabulary: Vocabulary) -> None:
        """ValueError for another count of names, or later for others: the list is closed."""
        check_closed_list(vocabulary, known=self.vocabulary, class_count=self.class_count)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Raises the momentum while the rate warms up; ValueError for squares of another size."""
        if batch.image.shape[-1] != self.tile_px:
            raise ValueError(
                f"training squares have {batch.image.shape[-1]} px and the model's image_size_px "
                f"is {self.tile_px}, expected one size: set data.init_args.train_transform to a "
                f"Letterbox of {self.tile_px} px"
            )
        share = min(1.0, self.trainer.global_step / max(1, self.warmup_steps))
        for group in self.trainer.optimizers[0].param_groups:
            group["momentum"] = FIRST_MOMENTUM + share * (self.momentum - FIRST_MOMENTUM)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Fit, names and distances of the boxes of images whose mask is known."""
        known = batch.has_mask
        if not known.any():
            names, sides = self.net(pixels_of(batch.image))
            return (names.sum() + sides.sum()) * 0.0
        images, truths = batch.image[known], [truth_of(mask) for mask in batch.mask[known]]
        images, truths = self.mix(images, truths, batch.seeds[0])
        names, sides = self.net(pixels_of(images))
        losses = box_losses(names, sides, self.net.bins, self.net.places(images), truths)
        loss = (
            self.loss_weight_fit * losses.fit
            + self.loss_weight_names * losses.names
            + self.loss_weight_distances * losses.distances
        )
        self.log("mask/train/loss", loss.detach(), batch_size=len(images))
        return loss * self.nominal_batch_size

    def mix(self, images: Tensor, truths: list[Truth], seed: int) -> tuple[Tensor, list[Truth]]:
        """Mosaics and mixtures of images (B, 3, s, s), but in the last epochs the images alone."""
        last_epoch = self.trainer.max_epochs or -1
        if 0 < last_epoch <= self.current_epoch + self.plain_epochs:
            return images, truths
        rng = np.random.default_rng(seed)
        images, truths = mosaic(images, truths, self.mosaic_probability, rng)
        return mixup(images, truths, self.mixup_probability, rng)

    @torch.no_grad()
    def find(self, images: Sequence[Tensor]) -> list[Prediction]:
        """Predictions with all boxes, even unlikely ones, for images (3, H, W) in [-1, 1]."""
        predictions = []
        for first in range(0, len(images), self.tile_batch_size):
            some = images[first : first + self.tile_batch_size]
            squares = torch.stack(
                [letterboxed(image.to(self.device), self.tile_px) for image in some]
            )
            names, sides = self.net(pixels_of(squares))
            distances = expected_distances(sides, self.net.bins)
            boxes = to_boxes(distances, self.net.places(squares))
            for image, scores, own in zip(some, names.float().sigmoid(), boxes, strict=True):
                size_px = image.shape[-2:]
                found = best_boxes(scores, own, most=self.post_processing.max_instances)
                found = replace(found, boxes=from_square(found.boxes, size_px, self.tile_px))
                predictions.append(
                    predict_from_boxes(
                        found, size_px, self.class_count, self.post_processing, image.device
                    )
                )
        return predictions

    def predict_images(self, images: Sequence[Tensor]) -> list[Prediction]:
        """Predictions for images (3, H, W) in [-1, 1] of any sizes, with the boxes to show."""
        return self.listed(self.find(images))

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """Predictions with all boxes, as they are counted."""
        return self.find(list(batch.image))

    def validation_step(  # type: ignore[override]  # callbacks read the predictions
        self, batch: Batch, batch_idx: int
    ) -> list[Prediction]:
        """Predictions with the boxes to show, after all were counted."""
        return self.listed(super().validation_step(batch, batch_idx))

    def test_step(  # type: ignore[override]
        self, batch: Batch, batch_idx: int
    ) -> list[Prediction]:
        """Predictions with the boxes to show, after all were counted."""
        return self.listed(super().test_step(batch, batch_idx))

    def listed(self, predictions: list[Prediction]) -> list[Prediction]:
        """The predictions without boxes that do not reach their thresholds."""
        return [
            replace(one, instances=listed_instances(one.instances, self.post_processing))
            for one in predictions
        ]

    def score_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (T, K, s, s) of filled boxes, the best one at each pixel, and answers (T, K+1)."""
        found = self.find(list(tiles))
        types = torch.stack([one.type_map for one in found]) - 1
        best = torch.stack([one.anomaly_map for one in found])
        maps = functional.one_hot(types, self.class_count - 1).movedim(-1, 1) * best[:, None]
        return maps, torch.stack([one.type_scores for one in found])

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """SGD with warm-up and a cosine; biases come down to the base rate, and do not decay."""
        matrices, plain = split_by_decay(self, self.weight_decay)
        vectors = [(name, one) for name, one in self.net.named_parameters() if one.ndim == 1]
        biases = [one for name, one in vectors if name.endswith("bias")]
        scales = [one for name, one in vectors if name.endswith("weight")]
        groups = [matrices, {**plain, "params": scales}, {**plain, "params": biases}]
        optimizer = torch.optim.SGD(groups, lr=self.base_learning_rate, momentum=self.momentum)
        self.warmup_steps = round(self.warmup_epochs * steps_per_epoch(self.trainer))
        curve = partial(
            warm_up_cosine,
            warmup_steps=self.warmup_steps,
            total_steps=total_steps(self.trainer),
            floor=self.last_rate_share,
        )
        first = FIRST_BIAS_RATE / self.base_learning_rate
        return schedule(optimizer, *(partial(curve, start=start) for start in (0.0, 0.0, first)))


def pixels_of(images: Tensor) -> Tensor:
    """Images in [-1, 1] in [0, 1]."""
    return (images + 1) / 2


def truth_of(mask: Tensor) -> Truth:
    """The boxes of the regions of a mask (H, W) of class ids; those of one type that touch are one.

    What the detection metrics take for truth.
    """
    regions = find_regions(mask.cpu().numpy())
    start, size = np.split(regions.boxes_xywh_px, 2, axis=1)
    boxes = torch.from_numpy(np.concatenate([start, start + size], axis=1))
    class_ids = torch.from_numpy(regions.class_ids)
    return Truth(boxes.float().to(mask.device), class_ids.to(mask.device) - 1)
