"""Latents of augmented training pictures on disk, in shards: the cached way of stage 1 (NOTES 11).

Every training row is kept in several augmented variants: position = variant * rows + place of the
row. A shard holds the latents, the image tower's embedding (for the implicit captioner) and the
caption as text, which is no larger than token ids and fits any tokenizer; never a text embedding.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from datamodules.manifest_file import replacing

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
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(asdict(self.index), indent=2) + "\n", encoding="utf-8")

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
            with replacing(self._path(shard, f"{name}.npy")) as temporary:
                with temporary.open("wb") as file:
                    np.save(file, values.astype(np.float16))
                hashes[name] = hashlib.sha256(temporary.read_bytes()).hexdigest()
        content = {"sha256": hashes, "captions": list(captions)}
        with replacing(self._path(shard, "shard.json")) as temporary:
            temporary.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    def read(self, position: int) -> tuple[np.ndarray, np.ndarray, str]:
        """The latents (c, h, w), the embedding (D,) and the caption at a position."""
        shard, place = divmod(position, self.index.samples_per_shard)
        latents, embeddings, captions = self._open(shard)
        return latents[place], embeddings[place], captions[place]

    def verify(self) -> None:
        """Nothing, where every shard is there with its own hash; else ValueError."""
        for shard in range(self.shard_count):
            hashes = self._read_json(shard)["sha256"]
            for name in ARRAYS:
                path = self._path(shard, f"{name}.npy")
                if not path.is_file() or _sha256(path) != hashes[name]:
                    raise ValueError(
                        f"{path} is damaged, expected sha256 {hashes[name]}: remove "
                        f"{self._path(shard, 'shard.json').name} beside it and write it again"
                    )

    def _open(self, shard: int) -> tuple[np.ndarray, np.ndarray, list[str]]:
        if shard not in self._maps:
            captions = self._read_json(shard)["captions"]
            latents, embeddings = (
                np.load(self._path(shard, f"{name}.npy"), mmap_mode="r") for name in ARRAYS
            )
            self._maps[shard] = latents, embeddings, captions
        return self._maps[shard]

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


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
