"""Latents of augmented training images on disk, in shards: the cached way of stage 1.

Every training row is kept in several augmented variants: position = variant * rows + place of the
row. A shard holds the latents, the image tower's embedding (for the implicit captioner) and the
caption as text, which is no larger than token ids and fits any tokenizer; never a text embedding.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader, Dataset

from datamodules.dataset import DefectDataset, item_seed
from datamodules.decode import sha256_of
from datamodules.manifest import Manifest
from datamodules.sample import Batch, Sample, collate
from datamodules.sampler import Draw
from datamodules.shared_memory import begin_reading, checked_workers
from datamodules.whole_files import whole, write_whole

INDEX_NAME = "index.json"
ARRAYS = ("latents", "embeddings")
VERSION = 1


@dataclass(frozen=True, slots=True)
class StoreIndex:
    """What a store was made from; a run with any of it different is refused.

    parts_sha256: of the frozen parts' weights and scales; transform: its settings in words;
    row_count: training rows; variants: augmented variants of each.
    """

    manifest_sha256: str
    transform: str
    seed: int
    row_count: int
    variants: int
    samples_per_shard: int
    parts_sha256: str
    version: int = VERSION


class LatentStore:
    """A folder of shards; a shard counts once its own JSON with its hashes is there."""

    def __init__(self, folder: str | Path, index: StoreIndex) -> None:
        self.folder = Path(folder)
        self.index = index
        self._maps: dict[int, tuple[np.ndarray, np.ndarray, list[str]]] = {}

    @classmethod
    def open(cls, folder: str | Path) -> "LatentStore":
        """The store in a folder; FileNotFoundError or ValueError where there is none."""
        path = Path(folder) / INDEX_NAME
        if not path.is_file():
            raise FileNotFoundError(
                f"latent store {path} is missing: run python -m experiments.cache_latents "
                f"--config NAME --out {folder}"
            )
        try:
            return cls(folder, StoreIndex(**json.loads(path.read_text(encoding="utf-8"))))
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path} is no index of latents ({str(error).splitlines()[0]}): write the store "
                "again with python -m experiments.cache_latents"
            ) from error

    def begin(self) -> None:
        """Writes the index, or finds it there already; ValueError for a store of something else."""
        path = self.folder / INDEX_NAME
        if path.is_file():
            LatentStore.open(self.folder).check(self.index)
            return
        write_whole(path, json.dumps(asdict(self.index), indent=2) + "\n")

    def check(self, wanted: StoreIndex) -> None:
        """Nothing, where the store was made from what is wanted; else ValueError."""
        made, asked = asdict(self.index), asdict(wanted)
        for name, value in asked.items():
            if made[name] != value:
                raise ValueError(
                    f"latent store {self.folder} has {name} {made[name]!r}, expected {value!r}: "
                    "write another one with python -m experiments.cache_latents --out"
                )

    def __len__(self) -> int:
        return self.index.row_count * self.index.variants

    @property
    def shard_count(self) -> int:
        """Shards of the whole store, finished or not."""
        return -(-len(self) // self.index.samples_per_shard)

    def positions_of(self, shard: int) -> range:
        """The positions that a shard holds."""
        start = shard * self.index.samples_per_shard
        return range(start, min(start + self.index.samples_per_shard, len(self)))

    def is_finished(self, shard: int) -> bool:
        """Whether a shard was written whole."""
        return self._path(shard, "shard.json").is_file()

    def write_shard(
        self, shard: int, latents: np.ndarray, embeddings: np.ndarray, captions: Sequence[str]
    ) -> None:
        """Keep one shard: latents (n, c, h, w), embeddings (n, D), n captions, as float16."""
        expected = len(self.positions_of(shard))
        if not len(latents) == len(embeddings) == len(captions) == expected:
            raise ValueError(f"shard {shard} got {len(latents)} samples, expected {expected}")
        hashes = {}
        for name, values in zip(ARRAYS, (latents, embeddings), strict=True):
            with whole(self._path(shard, f"{name}.npy")) as unfinished:
                with unfinished.open("wb") as file:
                    np.save(file, values.astype(np.float16))
                hashes[name] = sha256_of(unfinished)
        content = {"sha256": hashes, "captions": list(captions)}
        write_whole(self._path(shard, "shard.json"), json.dumps(content, ensure_ascii=False))

    def read(self, position: int) -> tuple[np.ndarray, np.ndarray, str]:
        """The latents (c, h, w), the embedding (D,) and the caption at a position."""
        shard, place = divmod(position, self.index.samples_per_shard)
        if shard not in self._maps:
            captions = self._read_json(shard)["captions"]
            paths = (self._path(shard, f"{name}.npy") for name in ARRAYS)
            self._maps[shard] = (*(np.load(path, mmap_mode="r") for path in paths), captions)
        latents, embeddings, captions = self._maps[shard]
        return latents[place], embeddings[place], captions[place]

    def verify(self) -> None:
        """Nothing, where every shard is there with its own hash; else ValueError."""
        for shard in range(self.shard_count):
            hashes = self._read_json(shard)["sha256"]
            for name in ARRAYS:
                path = self._path(shard, f"{name}.npy")
                if not path.is_file() or sha256_of(path) != hashes[name]:
                    raise ValueError(
                        f"{path} is damaged, expected sha256 {hashes[name]}: remove "
                        f"{self._path(shard, 'shard.json').name} beside it and write it again"
                    )

    def _read_json(self, shard: int) -> dict:
        path = self._path(shard, "shard.json")
        if not path.is_file():
            raise FileNotFoundError(
                f"latent store {self.folder} lacks shard {shard} of {self.shard_count}: run "
                "python -m experiments.cache_latents again, it goes on where it was"
            )
        return json.loads(path.read_text(encoding="utf-8"))

    def _path(self, shard: int, name: str) -> Path:
        return self.folder / f"{shard:06d}.{name}"


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
        defects = self.manifest[draw.row].defects
        return Sample(
            image=torch.zeros(3, 0, 0),
            mask=torch.zeros(0, 0, dtype=torch.int64),
            has_mask=False,
            caption=caption,
            class_ids=tuple(self.manifest.vocabulary.id_of(name) for name in defects),
            row=draw.row,
            seed=item_seed(self.seed, draw.turn, draw.row) >> 1,
            latents=torch.from_numpy(np.array(latents)),
            image_embedding=torch.from_numpy(np.array(embedding)),
        )


class LatentShards(LightningDataModule):
    """The augmented images of a store's unfinished shards, in order; a rank has every nth shard.

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
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
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
            batches,  # type: ignore[arg-type]
            batch_size=None,
            num_workers=checked_workers(
                self.num_workers, self.batch_size * self.dataset.largest_bytes
            ),
            worker_init_fn=begin_reading,
            collate_fn=partial(_open_batch, dataset=self.dataset),
        )

    def _draw(self, position: int) -> Draw:
        variant, place = divmod(position, self.store.index.row_count)
        return Draw(int(self.dataset.rows[place]), variant)


def _open_batch(draws: Sequence[Draw], dataset: DefectDataset) -> Batch:
    return collate([dataset[draw] for draw in draws])
