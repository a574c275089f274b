"""Good images that defects are painted into, with the masks for them, given or drawn."""

import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np

from datamodules.annotation import open_mask
from datamodules.decode import open_pixels, read_header, sha256_of
from datamodules.file_walk import count_reasons, image_paths
from datamodules.manifest import Manifest
from datamodules.masks import survey_masks
from datamodules.preparing.frames import frame_of
from datamodules.sample import GOOD
from datamodules.splits import FewShots
from datamodules.vocabulary import Vocabulary
from experiments.generation.prompts import Prompt
from experiments.generation.windows import Window, draw_mask, join, window_around
from experiments.inference.inputs import InputImage, find_images, name_images

LOGGER = logging.getLogger(__name__)
ANY_DEFECT = Vocabulary.from_names(["defect"])


@dataclass(frozen=True, slots=True)
class Job:
    """One defect to be painted into one image.

    image: (H, W, 3), or (H, W) grey, uint8; mask: (H, W) bool; window: what the U-Net sees;
    source_image, source_sha256: the image's name and the hash of its file.
    """

    image: np.ndarray
    mask: np.ndarray
    window: Window
    prompt: Prompt
    seed: int
    source_image: str
    source_sha256: str

    def join(self, painted: np.ndarray) -> np.ndarray:
        """The image with what was painted in its window (h, w, 3) inside the mask."""
        if self.image.ndim == 2:
            painted = np.rint(painted.mean(axis=2)).astype(np.uint8)
        return join(self.image, self.window.place(self.image, painted), self.mask)


def find_inputs(
    images: str, max_images: int | None, masks: str, *, draw_masks: bool, seed: int
) -> list[tuple[InputImage, Path | None]]:
    """The images to paint into, each with its mask's file, None where one is to be drawn.

    None at all where images are drawn from words alone. ValueError or FileNotFoundError, one line,
    for options that do not go together.
    """
    mask_options = bool(masks) + draw_masks
    if not images and (mask_options or max_images is not None):
        raise ValueError(
            "--masks, --draw_masks and --max_images need --images: expected images to paint into"
        )
    if not images:
        return []
    if mask_options != 1:
        raise ValueError(
            f"--images comes with {mask_options} of --masks and --draw_masks: expected exactly one"
        )
    path = Path(os.path.expanduser(images))
    if path.suffix == ".parquet":
        inputs = good_training_images(path, max_images, seed=seed)
    elif max_images is not None:
        raise ValueError(
            f"--max_images {max_images} comes with --images {images}: expected it with a "
            "manifest.parquet alone; leave it out"
        )
    else:
        inputs, left_out = find_images(images)
        for line in count_reasons(left_out):
            LOGGER.warning("left out of %s: %s", images, line)
    if draw_masks:
        return [(image, None) for image in inputs]
    folder = Path(os.path.expanduser(masks))
    if folder.is_file() and len(inputs) == 1:
        return [(inputs[0], folder)]
    if not folder.is_dir():
        raise FileNotFoundError(
            f"--masks {folder} is no folder: expected one with a mask of the same name for each "
            "image, or --draw_masks"
        )
    found = {mask.name: mask.path for mask in name_images(image_paths(folder), folder)}
    for image in inputs:
        if image.name not in found:
            raise FileNotFoundError(
                f"image {image.path} has no mask in {masks}: expected one {image.name}.png there, "
                "white where the defect goes"
            )
    return [(image, found[image.name]) for image in inputs]


def good_training_images(file: Path, limit: int | None, *, seed: int) -> list[InputImage]:
    """The images without a defect, real ones, of the training split of a manifest.

    limit: at most so many, those that `shots_per_type` keeps under `split_seed` = `seed`. Raises
    FileNotFoundError or ValueError, one line, for no manifest and for one without good images.
    """
    index = Manifest.open(file)
    rows = index.rows_of("train")
    if any(index.column("window_xywh_px")):
        raise ValueError(
            f"--images {file} has windows of larger images, of which others may show a defect: "
            "expected whole images, prepared without tile_px"
        )
    is_good = np.array(index.types_of(rows)) == GOOD
    is_generated = np.array(index.column("is_generated"), dtype=bool)[rows]
    good = rows[is_good & ~is_generated]
    if not len(good):
        raise ValueError(
            f"--images {file} has no good image among its {len(rows)} of training: expected "
            "some to paint into; name a folder of them"
        )
    images = index.column("image")
    chosen = FewShots(per_type=limit, seed=seed).choose(index, good)
    return name_images([index.root / images[row] for row in chosen.tolist()], index.root)


def list_jobs(
    inputs: Sequence[tuple[InputImage, Path | None]],
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    *,
    side_px: int,
    stride_px: int,
) -> Iterator[Job]:
    """A job for each image, prompt and seed; an image is opened when its first one is due.

    inputs: images with their masks' files, None where they are drawn; drawn ones follow from seed,
    image and type alone. Raises ValueError or FileNotFoundError, one line, for a bad image or mask.
    """
    for source, file in inputs:
        image, sha256 = open_pixels(source.path), sha256_of(source.path)
        size_px = (image.shape[0], image.shape[1])
        if file is not None:
            mask = read_mask(file, size_px)
            frame_of(source.path, read_header(source.path), (0, 0), mask=file)
        for prompt, seed in product(prompts, seeds):
            if file is None:
                rng = np.random.default_rng([seed, int(sha256[:16], 16)])
                mask = draw_mask(rng, size_px, defect=str(prompt.types), side_px=side_px)
            window = window_around(mask, side_px=side_px, stride_px=stride_px)
            yield Job(image, mask, window, prompt, seed, source.name, sha256)


def read_mask(path: Path, size_px: tuple[int, int]) -> np.ndarray:
    """A mask file as (H, W) bool, bright where the defect goes.

    Raises ValueError, one line, for another size, several colours, or an empty one.
    """
    survey, defect = survey_masks(path.parent, [path.name]), ANY_DEFECT.names[1]
    values = survey.values_of(path.name, defect)
    mask = open_mask(path, values, vocabulary=ANY_DEFECT, size_px=size_px) > 0
    if flaw := survey.problem_of(path.name, defect):
        raise ValueError(flaw)
    if not mask.any():
        raise ValueError(f"mask {path} is empty: expected white where the defect goes")
    return mask
