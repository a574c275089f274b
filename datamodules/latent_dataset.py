"""Stored latents as Samples, and the batches in which they are written.

What a store is, is `latent_store.py`; the pictures behind it come from `dataset.py`.
"""

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from datamodules.dataset import DefectDataset, item_seed
from datamodules.latent_store import LatentStore
from datamodules.manifest import Manifest
from datamodules.sample import Batch, Sample, collate
from datamodules.sampler import Draw

NO_PIXELS = torch.zeros(3, 0, 0), torch.zeros(0, 0, dtype=torch.int64)


class LatentDataset(Dataset[Sample]):
    """The Samples of training rows from a store: latents and image embedding instead of pixels.

    The turn of a Draw picks the variant, so that successive epochs see all of them in rotation.
    """

    def __init__(
        self, manifest: Manifest, rows: np.ndarray, store: LatentStore, *, seed: int = 0
    ) -> None:
        self.manifest, self.rows, self.store, self.seed = manifest, rows, store, seed

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, draw: Draw) -> Sample:
        """The Sample of a Draw; FileNotFoundError where the store is not finished."""
        place = int(np.searchsorted(self.rows, draw.row))
        variant = draw.turn % self.store.index.variants
        latents, embedding, caption = self.store.read(variant * len(self.rows) + place)
        image, mask = NO_PIXELS
        defects = self.manifest[draw.row].defects
        return Sample(
            image=image,
            mask=mask,
            has_mask=False,
            caption=caption,
            class_ids=tuple(self.manifest.vocabulary.id_of(name) for name in defects),
            row=draw.row,
            seed=item_seed(self.seed, draw.turn, draw.row) >> 1,
            latents=torch.from_numpy(np.array(latents)),
            image_embedding=torch.from_numpy(np.array(embedding)),
        )


class _Batches(Dataset[Batch]):
    """Batches of given draws, in order."""

    def __init__(self, dataset: DefectDataset, draws: list[list[Draw]]) -> None:
        self.dataset, self.draws = dataset, draws

    def __len__(self) -> int:
        return len(self.draws)

    def __getitem__(self, index: int) -> Batch:
        return collate([self.dataset[draw] for draw in self.draws[index]])


class LatentShards(LightningDataModule):
    """The augmented pictures of a store's unfinished shards, in order; a rank has every nth shard.

    shard_of_batch: which shard each batch belongs to, there once the loader is made.
    """

    def __init__(
        self, dataset: DefectDataset, store: LatentStore, *, batch_size: int, num_workers: int = 0
    ) -> None:
        super().__init__()
        self.dataset, self.store = dataset, store
        self.batch_size, self.num_workers = batch_size, num_workers
        self.shard_of_batch: list[int] = []

    def predict_dataloader(self) -> DataLoader[Batch]:
        """Batches that do not cross shards."""
        rank, world_size = (0, 1)
        if self.trainer is not None:
            rank, world_size = self.trainer.global_rank, self.trainer.world_size
        batches: list[list[Draw]] = []
        self.shard_of_batch = []
        for shard in range(rank, self.store.shard_count, world_size):
            if self.store.is_finished(shard):
                continue
            draws = [self._draw(position) for position in self.store.positions_of(shard)]
            for start in range(0, len(draws), self.batch_size):
                batches.append(draws[start : start + self.batch_size])
                self.shard_of_batch.append(shard)
        # Whole batches as items: Lightning would take a batch sampler of ours apart.
        return DataLoader(
            _Batches(self.dataset, batches), batch_size=None, num_workers=self.num_workers
        )

    def _draw(self, position: int) -> Draw:
        variant, place = divmod(position, self.store.index.row_count)
        return Draw(int(self.dataset.rows[place]), variant)
