"""Latents and image embeddings of a data set, predicted and written in shards."""

import hashlib
from collections.abc import Sequence
from typing import Protocol

import numpy as np
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter
from torch import Tensor

from datamodules.sample import Batch
from lightning_modules.nets.diffusion_model import DiffusionModel


class LatentEncoding(LightningModule):
    """Predicts what stage 1 keeps of an image; ValueError for an image tower that still learns."""

    def __init__(self, diffusion: DiffusionModel) -> None:
        super().__init__()
        if any(weight.requires_grad for weight in diffusion.image_encoder.parameters()):
            raise ValueError(
                f"{type(diffusion.image_encoder).__name__} learns with stage 1, so that its "
                "embeddings cannot be kept: expected a frozen image tower, such as "
                "ClipImageEncoder, or latents: online"
            )
        self.diffusion = diffusion

    def predict_step(self, batch: Batch, batch_idx: int) -> tuple[Tensor, Tensor]:
        """Latents (B, c, h, w) and image embeddings (B, D) of a batch."""
        return self.diffusion.encode(batch.image), self.diffusion.image_encoder(batch.image)


def parts_sha256(diffusion: DiffusionModel) -> str:
    """The hash of the parts that latents depend on: autoencoder with its scale, image tower."""
    digest = hashlib.sha256()
    for part in (diffusion.autoencoder, diffusion.image_encoder):
        for name, value in sorted(part.state_dict().items()):
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().float().numpy().tobytes())
    return digest.hexdigest()


class ShardStore(Protocol):
    """Where whole shards go."""

    def write_shard(
        self, shard: int, latents: np.ndarray, embeddings: np.ndarray, captions: Sequence[str]
    ) -> None:
        """Keep one shard."""


class ShardedData(Protocol):
    """Data that says which shard each of its batches belongs to."""

    shard_of_batch: list[int]


class LatentWriter(BasePredictionWriter):
    """Writes a shard when its last batch was predicted; every rank writes its own shards."""

    def __init__(self, store: ShardStore, data: ShardedData) -> None:
        super().__init__("batch")
        self.store, self.data = store, data
        self._gathered: list[tuple[np.ndarray, np.ndarray, list[str]]] = []

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: tuple[Tensor, Tensor],
        batch_indices: Sequence[int] | None,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Keep the batch, and write the shard where it is complete."""
        latents, embeddings = (part.float().cpu().numpy() for part in prediction)
        self._gathered.append((latents, embeddings, batch.captions))
        shard, *later = self.data.shard_of_batch[batch_idx : batch_idx + 2]
        if later != [shard]:
            all_latents, all_embeddings, captions = zip(*self._gathered, strict=True)
            whole = np.concatenate(all_latents), np.concatenate(all_embeddings)
            self.store.write_shard(shard, *whole, [one for row in captions for one in row])
            self._gathered.clear()
