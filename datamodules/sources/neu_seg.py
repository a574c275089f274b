"""NEU-Seg, hot-rolled steel strip (Dong et al. 2020), in its original layout.

`images/{training,test}/NNNNNN.jpg` and index masks `annotations/{training,test}/NNNNNN.png`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components

from datamodules.captions import Caption, location_of, morphology_of
from datamodules.image_files import open_image, open_mask
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record
from datamodules.vocabulary import GOOD_WORDS, Vocabulary

UPSTREAM = "github.com/DHW-Master/NEU_Seg"
SPLIT_FOLDERS = {"training": "train", "test": "test"}
MASK_VALUES = (
    MaskValues(0, 0, GOOD),
    MaskValues(1, 1, "inclusion"),
    MaskValues(2, 2, "patches"),
    MaskValues(3, 3, "scratches"),
)
ENTRIES = (
    GOOD_WORDS,
    ("inclusion", "embedded scale", "slag inclusion"),
    ("patches", "patch", "blotches"),
    ("scratches", "scratch", "score marks"),
)
CAUSES = {
    "inclusion": "slag rolled into the surface",
    "patches": "uneven oxide scale",
    "scratches": "contact with guides or rollers",
}
THUMBNAIL_PX = 20
COPY_CORRELATION = 0.98


class NeuSeg(Source):
    """Steel strip pictures with inclusion, patches and scratches; the published split is kept.

    The published split leaks: most test pictures lie turned in the training folder. With
    `drop_turned_copies` those training pictures are left out, and training pictures that are
    turned copies of each other are one group. Without, every picture is its own group.
    """

    name: ClassVar[str] = "neu_seg"

    def __init__(self, drop_turned_copies: bool = True) -> None:
        self.drop_turned_copies = drop_turned_copies

    def records(self, root: Path) -> list[Record]:
        """One Record per picture, training before test, split "train" or "test".

        Raises FileNotFoundError for a missing folder or mask, ValueError for unreadable files.
        """
        root = Path(root)
        images = {split: _find_images(root, split) for split in SPLIT_FOLDERS}
        groups = {split: [image.stem for image in images[split]] for split in SPLIT_FOLDERS}
        if self.drop_turned_copies:
            thumbnails = {split: _thumbnails(images[split]) for split in SPLIT_FOLDERS}
            kept = ~turned_copies(thumbnails["training"], thumbnails["test"]).any(axis=1)
            thumbnails["training"] = thumbnails["training"][kept]
            images["training"] = [images["training"][k] for k in np.flatnonzero(kept)]
            groups = {split: _copy_groups(images[split], thumbnails[split]) for split in images}
        return [
            self._record(root, image, split=split, group=group)
            for split in SPLIT_FOLDERS
            for image, group in zip(images[split], groups[split], strict=True)
        ]

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """Inclusion, patches, scratches with their synonyms, in the order of the mask ids."""
        return Vocabulary(ENTRIES)

    def _record(self, root: Path, image: Path, *, split: str, group: str) -> Record:
        mask_path = root / "annotations" / split / f"{image.stem}.png"
        ids = open_mask(
            mask_path,
            MASK_VALUES,
            vocabulary=Vocabulary(ENTRIES),
            size_px=open_image(image).shape[:2],
        )
        areas_px = np.bincount(ids.ravel(), minlength=len(ENTRIES))[1:]
        dominant_first = np.argsort(-areas_px, kind="stable")
        defects = tuple(ENTRIES[k + 1][0] for k in dominant_first if areas_px[k])
        return Record(
            image=image.relative_to(root).as_posix(),
            mask=mask_path.relative_to(root).as_posix(),
            mask_values=MASK_VALUES,
            defects=defects,
            caption=Caption(
                product="steel strip",
                material="hot-rolled steel",
                defect=" and ".join(defects),
                location=location_of(ids),
                morphology=morphology_of(ids),
                cause=CAUSES[defects[0]] if defects else "",
            ),
            group=f"{self.name}_{split}_{group}",
            source=self.name,
            split=SPLIT_FOLDERS[split],
        )


def turned_copies(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Which pictures of `first` are pictures of `second` turned by 0, 90, 180 or 270 degrees.

    first: (N, 20, 20), second: (M, 20, 20) thumbnails; returns (N, M) bool: the normalised
    correlation of at least one turn is above 0.98.
    """
    reference = _normalised(second)
    are_copies = np.zeros((len(first), len(second)), bool)
    for quarter_turns in range(4):
        turned = _normalised(np.rot90(first, quarter_turns, axes=(1, 2)))
        are_copies |= turned @ reference.T > COPY_CORRELATION
    return are_copies


def _copy_groups(images: Sequence[Path], thumbnails: np.ndarray) -> list[str]:
    """The group of each picture: the stem of the first picture it is linked to by copies."""
    links = csr_matrix(turned_copies(thumbnails, thumbnails))
    _, component = connected_components(links, directed=False)
    _, first_of_component = np.unique(component, return_index=True)
    return [images[first_of_component[label]].stem for label in component]


def _find_images(root: Path, split: str) -> list[Path]:
    folder = root / "images" / split
    images = sorted(folder.glob("*.jpg"))
    if not images:
        state = "holds no *.jpg" if folder.is_dir() else "is missing"
        raise FileNotFoundError(
            f"NEU-Seg folder {folder} {state}: expected root to hold images/training, "
            f"images/test and annotations; get it from {UPSTREAM}"
        )
    return images


def _thumbnails(images: Sequence[Path]) -> np.ndarray:
    size_px = (THUMBNAIL_PX, THUMBNAIL_PX)
    greys = [open_image(image)[..., 0].astype(np.float32) for image in images]
    return np.stack([cv2.resize(grey, size_px, interpolation=cv2.INTER_AREA) for grey in greys])


def _normalised(thumbnails: np.ndarray) -> np.ndarray:
    """Thumbnails as rows of zero mean and unit length; an even picture is a row of zeros."""
    rows = thumbnails.reshape(len(thumbnails), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, 1e-6)
