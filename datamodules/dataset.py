"""Record -> Sample: the image is opened, transformed, and described by what is left in sight."""

import hashlib

import numpy as np
import torch
from torch.utils.data import Dataset, get_worker_info

from datamodules.annotation import is_known_good, open_pair
from datamodules.language.caption_choice import CaptionChoice
from datamodules.manifest import Manifest
from datamodules.sample import GOOD_ID, Record, Sample
from datamodules.sampler import Draw
from datamodules.transforms import Transform, Unchanged, to_tensor
from datamodules.vocabulary import Vocabulary

CACHE_LIMIT_BYTES = 2 * 1024**3


class DefectDataset(Dataset[Sample]):
    """The Samples of some rows of a manifest.

    in_memory: decoded images are kept, up to 2 GiB over all workers; the rest is read anew.
    `has_mask` is True where every pixel is known: a good part needs no mask file for that.
    vocabulary: whose ids the classes get, with all names that the rows show; None: the manifest's.
    """

    def __init__(
        self,
        manifest: Manifest,
        rows: np.ndarray,
        transform: Transform,
        *,
        seed: int,
        in_memory: bool = False,
        caption_choice: CaptionChoice | None = None,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        self.manifest = manifest
        self.vocabulary = vocabulary or manifest.vocabulary
        self.rows = rows
        self.transform = transform
        self.seed = seed
        self.in_memory = in_memory
        self.caption_choice = caption_choice or CaptionChoice()
        self.epoch = 0
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getstate__(self) -> dict[str, object]:
        """Without the rows, which may be a million: loader workers are told theirs by Draws."""
        return {**self.__dict__, "rows": np.empty(0, dtype=np.int64), "_kept": {}, "_kept_bytes": 0}

    def set_epoch(self, epoch: int) -> None:
        """Set the turn of augmentations that plain integer indices get."""
        self.epoch = epoch

    def __getitem__(self, draw: Draw | int) -> Sample:
        """The Sample of a Draw, or of an index into `rows` in this epoch, the same at each call.

        Raises the one-line FileNotFoundError or ValueError of a image that went bad.
        """
        row, turn = draw if isinstance(draw, Draw) else (int(self.rows[draw]), self.epoch)
        record = self.manifest[row]
        has_mask = record.mask_kind != "none" or is_known_good(record)
        seed = item_seed(self.seed, turn, row)
        variants = self.transform.variants
        variant_id = item_seed(self.seed, turn % variants, row) if variants else seed
        image, mask = self._pixels(row, record)
        image, mask, caption = self.transform(
            image,
            mask,
            record.caption,
            has_mask=has_mask,
            seed=variant_id,
        )
        class_ids = self._visible_classes(record, mask) if has_mask else self._classes(record)
        names = self.vocabulary.names
        return Sample(
            image=to_tensor(image),
            mask=torch.from_numpy(mask.astype(np.int64)),
            has_mask=has_mask,
            caption=self.caption_choice.caption_of(
                caption,
                record,
                shown=[names[class_id] for class_id in class_ids],
                moved=not isinstance(self.transform, Unchanged),
                seed=seed,
            ),
            class_ids=class_ids,
            row=row,
            is_box=record.mask_kind == "box",
            seed=seed >> 1,  # a signed tensor holds it
            variant_id=variant_id,
        )

    def _pixels(self, row: int, record: Record) -> tuple[np.ndarray, np.ndarray]:
        """The image, grey as (H, W), uint8, and its mask of class ids, from memory or files."""
        if row in self._kept:
            return self._kept[row]
        image, ids = open_pair(record, self.manifest.root, vocabulary=self.manifest.vocabulary)
        mask = np.zeros(image.shape[:2], dtype=np.uint8) if ids is None else self._translated(ids)
        if self.in_memory:
            self._keep(row, image, mask)
        return image, mask

    def _keep(self, row: int, image: np.ndarray, mask: np.ndarray) -> None:
        worker = get_worker_info()
        limit = CACHE_LIMIT_BYTES // (worker.num_workers if worker else 1)
        if self._kept_bytes + image.nbytes + mask.nbytes <= limit:
            self._kept[row] = (image, mask)
            self._kept_bytes += image.nbytes + mask.nbytes

    def _translated(self, ids: np.ndarray) -> np.ndarray:
        """The manifest's class ids as this dataset's."""
        if len(self.vocabulary) == len(self.manifest.vocabulary):
            return ids
        own = {name: class_id for class_id, name in enumerate(self.vocabulary.names)}
        table = [own.get(name, GOOD_ID) for name in self.manifest.vocabulary.names]
        return np.array(table, dtype=ids.dtype)[ids]

    def _classes(self, record: Record) -> tuple[int, ...]:
        return tuple(self.vocabulary.id_of(name) for name in record.defects)

    def _visible_classes(self, record: Record, mask: np.ndarray) -> tuple[int, ...]:
        """The classes in the mask: those of the record in its order, then others by area."""
        counts = np.bincount(mask.ravel())
        present = [
            int(class_id) for class_id in np.argsort(-counts) if class_id and counts[class_id]
        ]
        named = [class_id for class_id in self._classes(record) if class_id in present]
        return tuple(named + [class_id for class_id in present if class_id not in named])


def item_seed(seed: int, turn: int, row: int) -> int:
    """The seed of one draw of one row, 64 bits: of its augmentation and of its noise."""
    digest = hashlib.blake2b(f"{seed}/{turn}/{row}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
