"""DMAD (CVPR 2023): an image may bend before a student must know it; what it can't know is odd.

Liu et al. 2023 (arXiv 2303.05047), the PPDM for products: reverse distillation with fields of
offsets. There is no diffusion in it; `ddpm_reconstruction.py` is what the DiffuseDefect paper says.
"""

from collections.abc import Callable
from typing import cast

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.optim.lr_scheduler import CosineAnnealingLR

from datamodules.sample import Batch
from lightning_modules.anomaly_module import AnomalyModule
from lightning_modules.equations.anomaly_maps import blurred
from lightning_modules.equations.deformation import (
    deformation_loss,
    magnitude,
    warp_twice,
)
from lightning_modules.equations.distillation import distillation_loss, distillation_map
from lightning_modules.nets.backbone_features import BackboneFeatures
from lightning_modules.nets.offset_net import OffsetNet
from lightning_modules.nets.reverse_distillation import (
    BOTTLENECKS,
    STRIDE,
    TEACHER_STRIDES,
    MirroredDecoder,
)
from lightning_modules.optimizers import adamw, fit_epochs, trainable


class Dmad(AnomalyModule):
    """A student that gives a frozen net's maps of good images back, which a net of offsets bends.

    bottleneck: `plain`, with which its authors have their results of pixels, or `quantised`, with
    which they have those of images. Departs from them: both maps are brought to [0, 1] by the
    lowest and highest places of good training images instead of the test set's, the offsets'
    share is one number for all products, and scores with and without it are not compared at test.
    """

    stage = "dmad"
    lowest: Tensor
    highest: Tensor

    def __init__(
        self,
        weights: str = "",
        model_name: str = "",
        layers: tuple[str, ...] = (),
        bottleneck: str = "plain",
        offset_width: int = 64,
        deformation_weight: float = 0.05,
        base_learning_rate: float = 5e-3,
        blur_sigma_px: float = 4.0,
        image_size_px: int = 256,
        batch_size: int = 8,
    ) -> None:
        super().__init__(image_size_px, batch_size, stride=STRIDE)
        if bottleneck not in BOTTLENECKS:
            got = f"bottleneck is {bottleneck!r}"
            raise ValueError(f"{got}: expected {' or '.join(BOTTLENECKS)}")
        self.automatic_optimization = True
        self.features = BackboneFeatures(weights, model_name, layers, TEACHER_STRIDES)
        if self.features.strides != TEACHER_STRIDES:
            raise ValueError(
                f"layers have the strides {self.features.strides}: expected three layers at "
                f"{TEACHER_STRIDES}"
            )
        self.offsets = OffsetNet(offset_width)
        self.bottleneck = BOTTLENECKS[bottleneck](self.features.channels)
        self.decoder = MirroredDecoder(self.bottleneck.width, self.features.channels)
        self.kind, self.base_learning_rate = bottleneck, base_learning_rate
        self.deformation_weight, self.blur_sigma_px = deformation_weight, blur_sigma_px
        # Of what the student does not know and of how far places moved.
        self.register_buffer("lowest", torch.zeros(2))
        self.register_buffer("highest", torch.ones(2))

    def tags(self) -> dict[str, str]:
        """The teacher, and what the student reads it through."""
        return {**self.features.tags(), "bottleneck": self.kind}

    def load(self) -> None:
        """Reads the teacher's weights; FileNotFoundError, or ValueError."""
        self.features.load()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """How far the student's maps of bent images are from the teacher's, and what bending costs.

        The frozen teacher passes the gradient on to the offsets.
        """
        image = self.features.pixels(batch.image)
        forth, back = self.offsets(image)
        bent = warp_twice(image, *forth)
        taught = self.features.backbone(bent)
        embedding, loss_codes = self.bottleneck(taught)
        loss_features = distillation_loss(taught, self.decoder(embedding))
        loss_offsets = deformation_loss(image, bent, forth, back)
        loss = loss_features + loss_offsets + loss_codes
        parts = {"loss": loss, "loss_features": loss_features, "loss_offsets": loss_offsets}
        logged = {f"mask/train/{name}": one.detach() for name, one in parts.items()}
        self.log_dict(logged, batch_size=len(image))
        return loss

    @torch.no_grad()
    def maps_of(self, images: Tensor) -> Tensor:
        """What the student does not know and how far places moved, blurred, (B, 2, s, s)."""
        image = self.features.pixels(images)
        forth, (coarse, fine) = self.offsets(image)
        taught = self.features.backbone(warp_twice(image, *forth))
        recalled = self.decoder(self.bottleneck(taught)[0])
        unknown = distillation_map(taught, recalled, images.shape[-1])
        # Back to where its places are in the image.
        maps = torch.cat([warp_twice(unknown, fine, coarse), magnitude((coarse, fine))], dim=1)
        return blurred(maps, self.blur_sigma_px)

    def weigh(self, values: Tensor) -> Tensor:
        """Scores (B, ...) of values (B, 2, ...) of both kinds, by the ranges of good images."""
        scale = values.new_tensor([1.0, self.deformation_weight]) / (self.highest - self.lowest)
        return torch.einsum("bk...,k->b...", values, scale) - (self.lowest * scale).sum()

    def score(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Both maps weighed, and both peaks."""
        maps = self.maps_of(images)
        return self.weigh(maps), self.weigh(maps.amax((2, 3)))

    def score_shown(self) -> tuple[Tensor, Tensor]:
        """What `score` says of the good images that were kept, once they have set the ranges."""
        was_training = self.training
        self.eval()
        maps = torch.cat([self.maps_of(image[None]) for image in self._shown])
        self.train(was_training)
        gather = cast(Callable[[Tensor], Tensor], self.all_gather)
        self.lowest = gather(maps.amin((0, 2, 3))).view(-1, 2).amin(0)
        self.highest = gather(maps.amax((0, 2, 3))).view(-1, 2).amax(0)
        return self.weigh(maps), self.weigh(maps.amax((2, 3)))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """AdamW, whose rate falls to 0 by a cosine of the epochs; ValueError without a last one."""
        groups: list[dict[str, object]] = [{"params": list(trainable(self))}]
        optimizer = adamw(groups, lr=self.base_learning_rate, betas=(0.5, 0.999))
        falling = CosineAnnealingLR(optimizer, fit_epochs(self.trainer))
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": falling, "interval": "epoch"}}
