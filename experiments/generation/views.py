"""Real and generated images as views of one size, and what a feature extractor makes of them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.annotation import open_pair
from datamodules.dataset import DefectDataset
from datamodules.decode import open_image, read_header
from datamodules.file_walk import image_paths
from datamodules.formats.text_files import parse_object, read_text
from datamodules.manifest import Manifest
from datamodules.preparing.fingerprints import fingerprint
from datamodules.sample import GOOD
from datamodules.sampler import Draw
from datamodules.sources.generated import TABLE
from datamodules.transforms import NativeCrop, ResizedCrop, Transform, to_pixels
from datamodules.vocabulary import GOOD_WORDS, Vocabulary, normalise_name
from lightning_modules.nets.feature_extractors import FeatureExtractor, resize_levels

UNCHANGED: dict[str, Any] = {
    "horizontal_flip_probability": 0.0,
    "vertical_flip_probability": 0.0,
    "rotation_degrees": 0.0,
    "color_jitter_bsch": (0.0, 0.0, 0.0, 0.0),
}


@dataclass(frozen=True, slots=True)
class View:
    """What is shown of one image: pixels (H, W, 3) uint8, and the type in sight, "" if unknown."""

    pixels: np.ndarray
    kind: str


class Views(Dataset[View]):
    """A view of each image; names: the images' paths."""

    names: Sequence[str]

    def __len__(self) -> int:
        return len(self.names)


class RealViews(Views):
    """What the transform cuts of the real images of a split, the same at each call.

    is_cropped: a view is less than its image. Raises ValueError for a split without real images.
    """

    def __init__(self, manifest: Manifest, split: str, transform: Transform, *, seed: int) -> None:
        rows = manifest.rows_of(split)
        self.rows = rows[~np.array(manifest.column("is_generated"), dtype=bool)[rows]]
        if not len(self.rows):
            raise ValueError(
                f"manifest {manifest.path} has no real {split!r} images, it has "
                f"{', '.join(sorted(set(manifest.column('split'))))}: prepare it with splits, or "
                "name others with --split and --held_out"
            )
        self.manifest, self.is_cropped = manifest, isinstance(transform, NativeCrop)
        self.dataset = DefectDataset(manifest, self.rows, transform, seed=seed)
        self.names = [manifest[row].image for row in self.rows]

    def __getitem__(self, index: int) -> View:
        """The view; ValueError, one line, for an image that went bad."""
        sample = self.dataset[Draw(int(self.rows[index]), 0)]
        names = self.manifest.vocabulary.names
        kind = names[sample.class_ids[0]] if sample.class_ids else GOOD
        return View(to_pixels(sample.image), kind)

    def whole(self, index: int) -> np.ndarray:
        """The whole image at its own size, (H, W, 3) uint8."""
        record, vocabulary = self.manifest[self.rows[index]], self.manifest.vocabulary
        pixels, _ = open_pair(record, self.manifest.root, vocabulary=vocabulary)
        return pixels if pixels.ndim == 3 else cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGB)


class GeneratedViews(Views):
    """The images of a folder that `experiments.generate` wrote, or of any other folder.

    prompts: what was asked for, else the name of the subfolder; an image's type is the one that
    the table names, else the longest class name in its prompt. Raises FileNotFoundError or
    ValueError, one line, for a folder without images or a broken table.
    """

    def __init__(self, folder: Path, vocabulary: Vocabulary) -> None:
        entries = list(_entries(folder))
        if not entries:
            raise FileNotFoundError(
                f"--generated {folder} holds no image: expected a folder that python -m "
                "experiments.generate wrote, or one of images"
            )
        self.folder = folder
        self.names = [name for name, _, _ in entries]
        self.prompts = [prompt for _, prompt, _ in entries]
        self.kinds = [
            type_in_words(defect.split(";")[0], vocabulary) or type_in_words(prompt, vocabulary)
            for _, prompt, defect in entries
        ]

    def __getitem__(self, index: int) -> View:
        """The whole image with the type that was asked for."""
        return View(open_image(self.folder / self.names[index]), self.kinds[index])

    def sides_px(self) -> set[int]:
        """The different widths and heights of the images, by their headers."""
        return {side for name in self.names for side in read_header(self.folder / name).shown_px}


def _entries(folder: Path) -> Iterator[tuple[str, str, str]]:
    """Image, prompt and defect by the folder's table, or else of every image but the masks."""
    table = folder / TABLE
    if table.is_file():
        for number, line in enumerate(read_text(table).splitlines(), start=1):
            row = parse_object(line, f"{table} line {number}")
            if not isinstance(row.get("image"), str):
                raise ValueError(
                    f"{table} line {number} names no image: generate the images again, or remove "
                    "the file to take them as they are"
                )
            yield str(row["image"]), str(row.get("prompt") or ""), str(row.get("defect") or "")
        return
    for name in (path.relative_to(folder) for path in image_paths(folder)):
        if "masks" not in name.parts[:-1]:
            yield name.as_posix(), " ".join(name.parts[:-1]), ""


def type_in_words(text: str, vocabulary: Vocabulary) -> str:
    """The type whose longest name or synonym stands in the text, "" where none does."""
    named = dict.fromkeys(GOOD_WORDS, GOOD)
    named |= {word: entry[0] for entry in vocabulary.entries for word in entry}
    for word in sorted(named, key=len, reverse=True):
        if re.search(rf"(?<!\w){re.escape(word)}(?!\w)", normalise_name(text)):
            return named[word]
    return ""


def crop_or_whole(name: str, sides_px: set[int], input_px: int) -> Transform:
    """How real images are shown, so that they have what generated ones have of detail.

    name: "crop", squares of their own resolution, or "whole", squeezed to a square; sides_px: of
    the generated images; input_px: the extractor's side, where those differ. Without flips, turns
    and colours: those are to enlarge the data, not to copy.
    """
    if name == "whole":
        side_px = min(sides_px) if len(sides_px) == 1 else input_px
        return ResizedCrop(side_px, crop_scale=(1.0, 1.0), **UNCHANGED)
    if len(sides_px) != 1:
        raise ValueError(
            f"--generated holds images with sides of {sorted(sides_px)[:3]} px, expected squares "
            "of one size to cut the real ones to: compare whole images with --real_transform whole"
        )
    return NativeCrop(min(sides_px), scale=(1.0, 1.0), **UNCHANGED)


@dataclass(frozen=True, slots=True)
class ViewFeatures:
    """What an extractor makes of N views, in their order.

    features: (N, D); logits: (N, K) or None; thumbnails: (N, 48, 48) uint8, by which copies are
    found; kinds: the types in sight.
    """

    features: Tensor
    logits: Tensor | None
    thumbnails: np.ndarray
    kinds: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.features)


def extract_features(extractor: FeatureExtractor, views: Views, batch_size: int) -> ViewFeatures:
    """What the extractor makes of every view, on its own device, and the views' thumbnails."""
    device = next(extractor.parameters()).device
    features, logits, thumbnails, kinds = [], [], [], []
    for start in range(0, len(views), batch_size):
        batch = [views[index] for index in range(start, min(start + batch_size, len(views)))]
        pixels = [torch.from_numpy(view.pixels).permute(2, 0, 1)[None] for view in batch]
        # One by one, since whole images differ in size; all go the same way.
        levels = torch.cat([resize_levels(one, extractor.input_px) for one in pixels])
        found = extractor(levels.to(device, torch.uint8))
        features.append(found.features.float().cpu())
        if found.logits is not None:
            logits.append(found.logits.float().cpu())
        thumbnails += [fingerprint(view.pixels).thumbnail for view in batch]
        kinds += [view.kind for view in batch]
    all_logits = torch.cat(logits) if logits else None
    return ViewFeatures(torch.cat(features), all_logits, np.stack(thumbnails), tuple(kinds))
