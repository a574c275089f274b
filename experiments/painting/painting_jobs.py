"""Good pictures with the masks that a defect is to be painted into, given or drawn."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from datamodules.annotation import open_mask
from datamodules.decode import IMAGE_SUFFIXES, open_pixels
from datamodules.sources.generated import mask_values
from datamodules.vocabulary import Vocabulary
from experiments.painting.defect_painting import draw_mask, window_around
from experiments.painting.picture_painter import Job
from experiments.painting.prompts import Prompt
from lightning_modules.weights_io import sha256_of

ANY_DEFECT = Vocabulary.from_names(["defect"])


@dataclass(frozen=True, slots=True)
class Source:
    """A good picture, the mask file for it, or None where masks are to be drawn."""

    name: str
    image: Path
    mask: Path | None


def match_masks(images: Mapping[str, Path], masks: Path | None) -> list[Source]:
    """Each picture with its mask: the same name below the folder `masks`, or the one file.

    None of them has one where `masks` is None. FileNotFoundError, one line, for a missing one.
    """
    if masks is None:
        return [Source(name, image, None) for name, image in images.items()]
    if masks.is_file() and len(images) == 1:
        return [Source(name, image, masks) for name, image in images.items()]
    if not masks.is_dir():
        raise FileNotFoundError(
            f"--masks {masks} is no folder: expected one with a mask of the same name for each "
            "picture, or --draw_masks"
        )
    found: dict[str, Path] = {}
    for path in sorted(masks.rglob("*")):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            found.setdefault(path.relative_to(masks).with_suffix("").as_posix(), path)
    for name, image in images.items():
        if name not in found:
            raise FileNotFoundError(
                f"picture {image} has no mask in {masks}: expected {name}.png there, 0 for good "
                "and 255 where the defect goes"
            )
    return [Source(name, image, found[name]) for name, image in images.items()]


def list_jobs(
    sources: Sequence[Source],
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    *,
    side_px: int,
    stride_px: int,
) -> Iterator[Job]:
    """A job for each picture, prompt and seed; a picture is opened when its first one is due.

    Drawn masks follow from seed, picture and type alone. Raises ValueError or FileNotFoundError,
    one line, for a bad picture or mask.
    """
    for source in sources:
        picture, sha256 = open_pixels(source.image), sha256_of(source.image)
        size_px = (picture.shape[0], picture.shape[1])
        given = None if source.mask is None else read_mask(source.mask, size_px)
        for prompt in prompts:
            for seed in seeds:
                mask = given
                if mask is None:
                    rng = np.random.default_rng([seed, int(sha256[:16], 16)])
                    mask = draw_mask(rng, size_px, defect=str(prompt.types), side_px=side_px)
                window = window_around(mask, side_px=side_px, stride_px=stride_px)
                yield Job(picture, mask, window, prompt, seed, source.name, sha256)


def read_mask(path: Path, size_px: tuple[int, int]) -> np.ndarray:
    """A mask file as (H, W) bool; ValueError, one line, for another size or an empty one."""
    (name,) = ANY_DEFECT.names[1:]
    ids = open_mask(path, mask_values(name), vocabulary=ANY_DEFECT, size_px=size_px)
    if not ids.any():
        raise ValueError(
            f"mask {path} is empty: expected 255 where the defect goes, nothing above 127 is there"
        )
    return ids > 0
