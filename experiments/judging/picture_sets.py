"""Real and generated pictures as views of one size, and what is seen in them.

A folder of generated pictures is opened in `picture_folder.py`; what is measured on the views is
in `fidelity_measures.py` and `nearest_neighbours.py`.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from datamodules.annotation import open_pair
from datamodules.dataset import DefectDataset
from datamodules.manifest import Manifest
from datamodules.preparing.fingerprints import fingerprint
from datamodules.sample import GOOD
from datamodules.sampler import Draw
from datamodules.transforms import NativeCrop, ResizedCrop, Transform, to_pixels
from lightning_modules.nets.feature_extractors import FeatureExtractor, resize_levels

UNCHANGED_COLOURS = (0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of one picture: pixels (H, W, 3) uint8, and the type that is in sight."""

    pixels: np.ndarray
    kind: str


class PictureSet(Dataset[View]):
    """Views by number; those of equal origin are of one picture. names: for people to find them."""

    names: Sequence[str]
    origins: Sequence[int]

    def __len__(self) -> int:
        return len(self.names)


@dataclass(frozen=True, slots=True)
class Described:
    """What is seen in N views, in their order.

    features: (N, D); logits: (N, K) or None; thumbnails: (N, 48, 48) uint8, what tells copies;
    kinds: the type in sight, "" where nobody says; origins: (N,) int64.
    """

    features: Tensor
    logits: Tensor | None
    thumbnails: np.ndarray
    kinds: tuple[str, ...]
    origins: Tensor

    def __len__(self) -> int:
        return len(self.features)


class RealPictures(PictureSet):
    """Views of some rows of a manifest, each picture `views_per_picture` times.

    The views are those that the transform cuts, the same at each call.
    """

    def __init__(
        self,
        manifest: Manifest,
        rows: np.ndarray,
        transform: Transform,
        *,
        views_per_picture: int = 1,
        seed: int = 0,
    ) -> None:
        self.manifest = manifest
        self.dataset = DefectDataset(manifest, rows, transform, seed=seed)
        self.draws = [Draw(int(row), turn) for turn in range(views_per_picture) for row in rows]
        self.origins = [draw.row for draw in self.draws]
        self.names = [manifest[row].image for row in self.origins]

    def __getitem__(self, index: int) -> View:
        """The view; raises the one line of a picture that went bad."""
        sample = self.dataset[self.draws[index]]
        names = self.manifest.vocabulary.names
        kind = names[sample.class_ids[0]] if sample.class_ids else GOOD
        return View(to_pixels(sample.image), kind)

    def whole(self, row: int) -> np.ndarray:
        """The whole picture of a row at its own size, (H, W, 3) uint8."""
        record, vocabulary = self.manifest[row], self.manifest.vocabulary
        pixels, _ = open_pair(record, self.manifest.root, vocabulary=vocabulary)
        return pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)


class TensorPictures(PictureSet):
    """Images (N, 3, H, W) in [-1, 1] that are in memory, with their types."""

    def __init__(self, images: Tensor, kinds: Sequence[str]) -> None:
        self.images = images
        self.kinds = kinds
        self.origins = list(range(len(images)))
        self.names = [f"picture {index}" for index in self.origins]

    def __getitem__(self, index: int) -> View:
        return View(to_pixels(self.images[index]), self.kinds[index])


def crop_views(side_px: int, defect_probability: float = 0.5) -> Transform:
    """Squares of the pictures' own resolution, as a stage 1 with NativeCrop is trained on."""
    return NativeCrop(
        side_px,
        defect_probability,
        scale=(1.0, 1.0),
        horizontal_flip_probability=0.0,
        vertical_flip_probability=0.0,
        rotation_degrees=0.0,
        color_jitter_bsch=UNCHANGED_COLOURS,
    )


def whole_views(side_px: int) -> Transform:
    """Whole pictures squeezed to a square, as a stage 1 with ResizedCrop is trained on."""
    return ResizedCrop(
        side_px,
        horizontal_flip_probability=0.0,
        vertical_flip_probability=0.0,
        rotation_degrees=0.0,
        color_jitter_bsch=UNCHANGED_COLOURS,
        crop_scale=(1.0, 1.0),
    )


def describe(
    extractor: FeatureExtractor,
    pictures: PictureSet,
    *,
    batch_size: int = 32,
    workers: int = 0,
    device: str = "cpu",
) -> Described:
    """What the extractor sees in every view, and the views' thumbnails."""
    loader: Iterable[list[View]] = DataLoader(
        pictures,
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=list,
    )
    features, logits, thumbnails, kinds = [], [], [], []
    for views in loader:
        pixels = [torch.from_numpy(view.pixels).permute(2, 0, 1)[None] for view in views]
        # One by one, since whole pictures differ in size; all go the same way.
        levels = torch.cat([resize_levels(one, extractor.input_px) for one in pixels])
        seen = extractor(levels.to(device, torch.uint8))
        features.append(seen.features.float().cpu())
        if seen.logits is not None:
            logits.append(seen.logits.float().cpu())
        thumbnails += [fingerprint(view.pixels).thumbnail for view in views]
        kinds += [view.kind for view in views]
    return Described(
        features=torch.cat(features),
        logits=torch.cat(logits) if logits else None,
        thumbnails=np.stack(thumbnails),
        kinds=tuple(kinds),
        origins=torch.tensor(pictures.origins),
    )
