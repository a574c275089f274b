"""Good images that defects are painted into, with the masks for them, given or drawn."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datamodules.annotation import open_mask
from datamodules.decode import image_paths, open_pixels, sha256_of
from datamodules.manifest import Manifest
from datamodules.sample import GOOD
from datamodules.sources.generated import mask_values
from datamodules.splits import FewShots
from datamodules.vocabulary import Vocabulary
from experiments.generation.prompts import Prompt
from experiments.generation.windows import Window, draw_mask, window_around
from experiments.inference.inputs import InputImage, find_images, name_images

MANIFEST_SUFFIX = ".parquet"
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


def good_images(images: str, limit: int | None, *, seed: int) -> list[InputImage]:
    """The images that `--images` means; of a manifest at most `limit` good ones of training.

    ValueError or FileNotFoundError, one line, where there are none.
    """
    path = Path(images).expanduser()
    if path.suffix == MANIFEST_SUFFIX:
        return good_training_images(path, limit, seed=seed)
    if limit is not None:
        raise ValueError(
            f"--max_images {limit} comes with --images {images}: expected it with a "
            "manifest.parquet alone; leave it out"
        )
    return find_images(images)


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
    chosen = FewShots(per_type=limit, seed=seed).choose(index, good)
    images = index.column("image")
    return name_images([index.root / images[row] for row in chosen.tolist()], index.root)


def match_masks(images: Sequence[InputImage], masks: Path) -> list[Path]:
    """The mask of each image: of the same name below the folder `masks`, or the one file.

    FileNotFoundError, one line, for a missing one.
    """
    if masks.is_file() and len(images) == 1:
        return [masks]
    if not masks.is_dir():
        raise FileNotFoundError(
            f"--masks {masks} is no folder: expected one with a mask of the same name for each "
            "image, or --draw_masks"
        )
    found: dict[str, Path] = {}
    for path in image_paths(masks):
        found.setdefault(path.relative_to(masks).with_suffix("").as_posix(), path)
    for image in images:
        if image.name not in found:
            raise FileNotFoundError(
                f"image {image.path} has no mask in {masks}: expected {image.name}.png there, 0 "
                "for good and 255 where the defect goes"
            )
    return [found[image.name] for image in images]


def list_jobs(
    images: Sequence[InputImage],
    masks: Sequence[Path | None],
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    *,
    side_px: int,
    stride_px: int,
) -> Iterator[Job]:
    """A job for each image, prompt and seed; an image is opened when its first one is due.

    masks: of each image its file, None where they are drawn; drawn ones follow from seed, image
    and type alone. Raises ValueError or FileNotFoundError, one line, for a bad image or mask.
    """
    for source, file in zip(images, masks, strict=True):
        image, sha256 = open_pixels(source.path), sha256_of(source.path)
        size_px = (image.shape[0], image.shape[1])
        given = None if file is None else read_mask(file, size_px)
        for prompt in prompts:
            for seed in seeds:
                mask = given
                if mask is None:
                    rng = np.random.default_rng([seed, int(sha256[:16], 16)])
                    mask = draw_mask(rng, size_px, defect=str(prompt.types), side_px=side_px)
                window = window_around(mask, side_px=side_px, stride_px=stride_px)
                yield Job(image, mask, window, prompt, seed, source.name, sha256)


def read_mask(path: Path, size_px: tuple[int, int]) -> np.ndarray:
    """A mask file as (H, W) bool; ValueError, one line, for another size or an empty one."""
    values = mask_values(ANY_DEFECT.names[1])
    ids = open_mask(path, values, vocabulary=ANY_DEFECT, size_px=size_px)
    if not ids.any():
        raise ValueError(
            f"mask {path} is empty: expected 255 where the defect goes, nothing above 127 is there"
        )
    return ids > 0
