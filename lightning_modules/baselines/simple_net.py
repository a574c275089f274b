"""SimpleNet (CVPR 2023): features of good parts told from the same with noise upon them."""

import torch
from lightning.pytorch.utilities.types import STEP_OUTPUT
from torch import Tensor, nn
from torch.nn import functional

from datamodules.sample import Batch
from lightning_modules.anomaly_module import AnomalyModule
from lightning_modules.equations.anomaly_maps import (
    blurred,
    mahalanobis_distances,
    patch_embedding,
    precision_of,
    resize_maps,
)
from lightning_modules.nets.backbone_features import BackboneFeatures

DISCRIMINATOR, MAHALANOBIS = "discriminator", "mahalanobis"


class SimpleNet(AnomalyModule):
    """A linear adaptor and a small discriminator on frozen features of 3x3 places.

    The published algorithm, its noise and margin. Departs from it: the whole image is a square, not
    cropped; one AdamW with two groups is its AdamW and Adam; the last weights are kept, not those
    that were best at the test. scorer: `discriminator`, or the DiffuseDefect paper's `mahalanobis`
    distance to the adapted features of the last epoch, which is no part of SimpleNet.
    """

    stage = "simple_net"
    collected = (*AnomalyModule.collected, "_sums")
    mean: Tensor
    precision: Tensor

    def __init__(
        self,
        weights: str = "",
        model_name: str = "",
        layers: tuple[str, ...] = (),
        embedding_width: int = 1536,
        hidden_width: int = 1024,
        noise_deviation: float = 0.015,
        margin: float = 0.5,
        base_learning_rate: float = 1e-3,
        discriminator_learning_rate: float = 2e-4,
        scorer: str = DISCRIMINATOR,
        blur_sigma_px: float = 4.0,
        image_size_px: int = 288,
        batch_size: int = 8,
    ) -> None:
        super().__init__(image_size_px, batch_size)
        if scorer not in (DISCRIMINATOR, MAHALANOBIS):
            raise ValueError(f"scorer is {scorer!r}: expected {DISCRIMINATOR} or {MAHALANOBIS}")
        self.automatic_optimization = True
        self.features = BackboneFeatures(weights, model_name, layers)
        self.adaptor = nn.Linear(embedding_width, embedding_width)
        hidden, last = (
            nn.Linear(embedding_width, hidden_width),
            nn.Linear(hidden_width, 1, bias=False),
        )
        norm = nn.BatchNorm1d(hidden_width)
        self.discriminator = nn.Sequential(hidden, norm, nn.LeakyReLU(0.2), last)
        for layer in (self.adaptor, hidden, last):
            nn.init.xavier_normal_(layer.weight)
        self.embedding_width, self.scorer = embedding_width, scorer
        self.noise_deviation, self.margin = noise_deviation, margin
        self.base_learning_rate = base_learning_rate
        self.discriminator_learning_rate = discriminator_learning_rate
        self.blur_sigma_px = blur_sigma_px
        width = embedding_width if scorer == MAHALANOBIS else 0
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("precision", torch.zeros(width, width))
        # Of adapted features, of their products, and how many there were.
        self._sums: list[Tensor] = []

    def tags(self) -> dict[str, str]:
        """The backbone, and what scores."""
        return {**self.features.tags(), "scorer": self.scorer}

    def load(self) -> None:
        """Reads the backbone's weights; FileNotFoundError, or ValueError."""
        self.features.load()

    def check_processes(self, count: int) -> None:
        """ValueError for several where each would hold a part of the distance's statistics."""
        if count > 1 and self.scorer == MAHALANOBIS:
            raise ValueError(
                f"got {count} processes and the scorer {MAHALANOBIS}, expected one process: set "
                "trainer.devices to 1"
            )

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """The hinge loss of real and of noised features, seen by one batch norm together."""
        real = self.adaptor(self.embed(batch.image).flatten(0, 2))
        generator = torch.Generator(real.device).manual_seed(batch.seeds[0])
        noise = torch.empty_like(real).normal_(0, self.noise_deviation, generator=generator)
        real_score, fake_score = self.discriminator(torch.cat([real, real + noise])).chunk(2)
        loss = functional.relu(self.margin - real_score).mean()
        loss = loss + functional.relu(self.margin + fake_score).mean()
        if self.scorer == MAHALANOBIS:
            self._count(real.detach())
        self.log("mask/train/loss", loss.detach(), batch_size=len(batch.image))
        return loss

    def _count(self, adapted: Tensor) -> None:
        """Adds adapted features (N, D) to the statistics of the epoch."""
        count = torch.tensor(len(adapted), device=adapted.device)
        if not self._sums:  # about a mean of some, so that squares stay small
            self.mean = adapted.float().mean(0)
            self._sums = [torch.zeros_like(one) for one in (self.mean, self.precision, count)]
        centred = adapted.float() - self.mean
        with torch.autocast(centred.device.type, enabled=False):
            added = (centred.sum(0), centred.T @ centred, count)
        self._sums = [total + one for total, one in zip(self._sums, added, strict=True)]

    def learn_from_epoch(self) -> None:
        """Sets mean and precision by the statistics of the epoch; then the curves."""
        if self._sums:
            *sums, count = self._sums
            shift, square = (total / count for total in sums)
            self.mean = self.mean + shift
            self.precision = precision_of(square - torch.outer(shift, shift))
        super().learn_from_epoch()

    def embed(self, images: Tensor) -> Tensor:
        """Vectors (B, h, w, D) of the places of images (B, 3, s, s) in [-1, 1]."""
        return patch_embedding(self.features(images), self.embedding_width)

    @torch.no_grad()
    def score(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """What the discriminator holds for noise, blurred, and its peak before that."""
        adapted = self.adaptor(self.embed(images))
        if self.scorer == MAHALANOBIS:
            odd = mahalanobis_distances(adapted, self.mean, self.precision)
        else:
            odd = -self.discriminator(adapted.flatten(0, 2)).view(adapted.shape[:3])
        maps = resize_maps(odd, images.shape[-1])
        return blurred(maps, self.blur_sigma_px), odd.amax((1, 2))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW: a tenth of the base rate for the adaptor, the discriminator's own beside it."""
        adaptor = {"params": self.adaptor.parameters(), "lr": 0.1 * self.base_learning_rate}
        discriminator = {
            "params": self.discriminator.parameters(),
            "lr": self.discriminator_learning_rate,
            "weight_decay": 1e-5,
        }
        return torch.optim.AdamW([adaptor, discriminator])
