"""Record -> Sample: the image is opened, transformed, and described by what is left in sight."""

import hashlib
import math

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
BYTES_PER_PIXEL = 3 * 4 + 8  # of an image in float32 and a mask in int64


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
        self.manifest, self.rows, self.transform = manifest, rows, transform
        self.vocabulary = vocabulary or manifest.vocabulary
        self.seed, self.in_memory = seed, in_memory
        self.caption_choice = caption_choice or CaptionChoice()
        self._kept: dict[int, tuple[np.ndarray, np.ndarray]] = {}
        self._kept_bytes = 0

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def sizes_px(self) -> list[tuple[int, int]]:
        """The sizes (width, height) of its samples, the largest first."""
        if self.transform.size_px:
            return [(self.transform.size_px, self.transform.size_px)]
        widths, heights = (self.manifest.column(name) for name in ("width_px", "height_px"))
        sizes = {(int(widths[row]), int(heights[row])) for row in self.rows}
        return sorted(sizes, key=math.prod, reverse=True)

    @property
    def largest_bytes(self) -> int:
        """What its largest sample takes in memory."""
        return math.prod(self.sizes_px[0]) * BYTES_PER_PIXEL

    def __getstate__(self) -> dict[str, object]:
        """Without the rows, which may be a million: loader workers are told theirs by Draws."""
        return {**self.__dict__, "rows": np.empty(0, dtype=np.int64), "_kept": {}, "_kept_bytes": 0}

    def __getitem__(self, draw: Draw) -> Sample:
        """The Sample of a Draw, the same at each call.

        Raises the one-line FileNotFoundError or ValueError of an image that went bad.
        """
        row, turn = draw
        record = self.manifest[row]
        has_mask = record.mask_kind != "none" or is_known_good(record)
        seed = item_seed(self.seed, turn, row)
        variants = self.transform.variants
        variant_id = item_seed(self.seed, turn % variants, row) if variants else seed
        image, mask = self._pixels(row, record)
        image, mask, caption = self.transform(
            image, mask, record.caption, has_mask=has_mask, seed=variant_id
        )
        class_ids = tuple(self.vocabulary.id_of(name) for name in record.defects)
        if has_mask:
            class_ids = _in_sight(class_ids, mask)
        text = self.caption_choice.caption_of(
            caption,
            record,
            shown=[self.vocabulary.names[class_id] for class_id in class_ids],
            moved=not isinstance(self.transform, Unchanged),
            seed=seed,
        )
        return Sample(
            image=to_tensor(image),
            mask=torch.from_numpy(mask.astype(np.int64)),
            has_mask=has_mask,
            caption=text,
            class_ids=class_ids,
            row=row,
            is_box=record.mask_kind == "box",
            seed=seed >> 1,  # a signed tensor holds it
            variant_id=variant_id,
            product=record.caption.product,
        )

    def _pixels(self, row: int, record: Record) -> tuple[np.ndarray, np.ndarray]:
        """The image, grey as (H, W), uint8, and its mask of class ids, from memory or files."""
        if row in self._kept:
            return self._kept[row]
        image, ids = open_pair(record, self.manifest.root, vocabulary=self.manifest.vocabulary)
        mask = np.zeros(image.shape[:2], dtype=np.uint8) if ids is None else self._translated(ids)
        worker = get_worker_info()
        limit = CACHE_LIMIT_BYTES // (worker.num_workers if worker else 1)
        if self.in_memory and self._kept_bytes + image.nbytes + mask.nbytes <= limit:
            self._kept[row] = image, mask
            self._kept_bytes += image.nbytes + mask.nbytes
        return image, mask

    def _translated(self, ids: np.ndarray) -> np.ndarray:
        """The manifest's class ids as this dataset's."""
        if len(self.vocabulary) == len(self.manifest.vocabulary):
            return ids
        own = {name: class_id for class_id, name in enumerate(self.vocabulary.names)}
        table = [own.get(name, GOOD_ID) for name in self.manifest.vocabulary.names]
        return np.array(table, dtype=ids.dtype)[ids]


def _in_sight(named: tuple[int, ...], mask: np.ndarray) -> tuple[int, ...]:
    """The classes in the mask: the named ones in their order, then others by area."""
    counts = np.bincount(mask.ravel())
    present = [int(k) for k in np.argsort(-counts) if k and counts[k]]
    first = [class_id for class_id in named if class_id in present]
    return tuple(first + [class_id for class_id in present if class_id not in first])


def item_seed(seed: int, turn: int, row: int) -> int:
    """The seed of one draw of one row, 64 bits: of its augmentation and of its noise."""
    digest = hashlib.blake2b(f"{seed}/{turn}/{row}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little")
