"""FAIR: an image is restored from its edges alone; where that fails, it is odd.

Liu et al. 2023 (arXiv 2309.07068): a U-Net sees the high frequencies of the grey image, in which
little tells an anomaly from a normal place, and learns on good parts to give the image back.
"""

import math
from collections.abc import Callable

import torch
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import Tensor
from torch.nn import functional
from torch.optim import Adam
from torch.optim.lr_scheduler import MultiStepLR

from datamodules.sample import Batch
from lightning_modules.anomaly_module import AnomalyModule
from lightning_modules.equations.restoration import (
    restoration_map,
    spectrum_distance,
    structural_similarity,
)
from lightning_modules.nets.backbone_features import BackboneFeatures
from lightning_modules.nets.restoration_unet import RESTORERS, STRIDE
from lightning_modules.nets.synthetic_anomalies import SyntheticAnomalies
from lightning_modules.optimizers import fit_epochs

PERCEPTUAL = "perceptual"
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "l2": functional.mse_loss,
    "ssim": lambda restored, clean: 1 - structural_similarity(restored, clean).mean(),
    "l1": functional.l1_loss,
    "frequency": spectrum_distance,
}


class Fair(AnomalyModule):
    """The published system, which learns from good images with painted anomalies.

    architecture: `published`, or `two_branches`, the paper's words taken literally. width: channels
    of the first stage; 128 makes the published 69,046,275 weights. loss: weights of l2, ssim, l1,
    frequency and perceptual; the last compares features of the net that `perceptual_weights` name.
    anomaly_probability: the share of training images that get one (`nets/synthetic_anomalies.py`).
    """

    stage = "fair"

    def __init__(
        self,
        architecture: str = "published",
        width: int = 128,
        base_learning_rate: float = 5e-4,
        loss: dict[str, float] | None = None,
        perceptual_weights: str = "",
        anomaly_probability: float = 0.5,
        image_size_px: int = 256,
        batch_size: int = 8,
    ) -> None:
        super().__init__(image_size_px, batch_size, stride=STRIDE)
        self.loss = {k: w for k, w in (loss or {"l2": 1.0, "ssim": 1.0}).items() if w}
        known = (*LOSSES, PERCEPTUAL)
        if unknown := [name for name in self.loss if name not in known]:
            raise ValueError(f"loss is {unknown[0]!r}: expected some of {', '.join(known)}")
        if architecture not in RESTORERS:
            got = f"architecture is {architecture!r}"
            raise ValueError(f"{got}: expected {' or '.join(RESTORERS)}")
        self.automatic_optimization = True
        self.base_learning_rate = base_learning_rate
        self.net = RESTORERS[architecture](width)
        self.features = BackboneFeatures(perceptual_weights) if PERCEPTUAL in self.loss else None
        self.anomalies = SyntheticAnomalies(anomaly_probability)

    def load(self) -> None:
        """Reads the weights of the net that compares features, where one does."""
        if self.features is not None:
            self.features.load()

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """How far images restored from spoilt ones are from the clean ones."""
        spoilt, clean = self.anomalies((batch.image + 1) / 2, batch.seeds)
        loss = self.restoration_loss(self.net(spoilt).float(), clean)
        self.log("mask/train/loss", loss.detach(), batch_size=len(clean))
        return loss

    def restoration_loss(self, restored: Tensor, clean: Tensor) -> Tensor:
        """The weighted sum of the losses in use, of images (B, 3, s, s)."""
        named = LOSSES | {PERCEPTUAL: self.perceptual_distance}
        terms = [weight * named[name](restored, clean) for name, weight in self.loss.items()]
        return torch.stack(terms).sum()

    def perceptual_distance(self, restored: Tensor, clean: Tensor) -> Tensor:
        """Mean difference of features over their layers."""
        assert self.features is not None
        net, pixels = self.features.backbone, self.features.pixels
        pairs = zip(*(net(pixels(2 * image - 1)) for image in (restored, clean)), strict=True)
        return torch.stack([functional.l1_loss(*pair) for pair in pairs]).mean()

    @torch.no_grad()
    def score(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Smoothed maps of what was not restored, and their peaks."""
        image = (images + 1) / 2
        maps = restoration_map(image, self.net(image).float())[:, 0]
        return maps, maps.amax((1, 2))

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        """Adam, whose rate falls to a fifth after 80 % of the epochs and again after 90 %.

        ValueError without a last epoch.
        """
        epochs = fit_epochs(self.trainer)
        optimizer = Adam(self.net.parameters(), lr=self.base_learning_rate)
        milestones = [math.ceil(share * epochs) for share in (0.8, 0.9)]
        drops = MultiStepLR(optimizer, milestones, gamma=0.2)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": drops, "interval": "epoch"}}
