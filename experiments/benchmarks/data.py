"""Images a second on one core from file to training tensor, beside Pillow and torchvision.

Both sides open the same files and make the same five augmentations of Table 2 with bilinear
interpolation: two flips, a turn, colour jitter, and a crop resized to a square. torchvision works
on RGB, as its users open images; we keep grey ones in one channel.
"""

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torchvision import transforms as tv

from datamodules.captions import Caption
from datamodules.decode import open_image, open_pixels
from datamodules.file_walk import image_paths
from datamodules.sources.synthetic import Synthetic
from datamodules.transforms import ResizedCrop, to_tensor
from experiments.benchmarks.measurement import (
    BenchSettings,
    Measurement,
    Work,
    compare_times,
    time_in_turns,
)

MOST_IMAGES, RENDERED_IMAGES, RENDERED_SIZE_PX = 48, 16, 640
# Of a chain with a decoder that scales while it decodes and one fused warp, from public figures.
CHAIN_LIMIT = 5.0
CAPTION = Caption("part")


def measure_images(settings: BenchSettings) -> list[Measurement]:
    """The whole chain as we have it, and with grey images in three channels on both sides.

    Raises ValueError where the folder holds no images or one cannot be read.
    """
    ours, theirs = our_augmentation(settings), their_augmentation(settings)
    with tempfile.TemporaryDirectory() as folder:
        if settings.images is not None:
            paths = find_images(settings.images)
        else:
            source = Synthetic(RENDERED_IMAGES, RENDERED_SIZE_PX)
            paths = [Path(folder) / record.image for record in source.records(Path(folder))]
        reference = over(paths, lambda path: theirs(open_rgb(path)))
        sides = {
            "file to tensor, against Pillow + torchvision": open_pixels,
            "the same, grey images in three channels on both sides": open_image,
        }
        rows = []
        for name, read in sides.items():
            own = over(paths, lambda path, read=read: ours(read(path)))  # type: ignore[misc]
            # torchvision draws from torch's own generator, which is left as it was.
            with torch.random.fork_rng(devices=[]):
                times = time_in_turns((own, reference), repeats=settings.repeats)
            rows.append(
                compare_times(
                    name,
                    *times,
                    count=len(paths),
                    unit="images/s per core",
                    limit=CHAIN_LIMIT,
                    settings={"count": len(paths), "px": settings.image_size_px},
                )
            )
        return rows


def find_images(folder: Path) -> list[Path]:
    """At most MOST_IMAGES images, evenly drawn from those under the folder; ValueError for none."""
    paths = image_paths(folder)
    if not paths:
        raise ValueError(f"--images: no image is under {folder}")
    chosen = np.linspace(0, len(paths) - 1, min(len(paths), MOST_IMAGES)).round().astype(int)
    return [paths[index] for index in chosen]


def over(paths: list[Path], work: Callable[[Path], object]) -> Work:
    """A call that does the work on every file and keeps no result: kept ones cost fresh memory."""

    def call() -> None:
        for path in paths:
            work(path)

    return call


def open_rgb(path: Path) -> Image.Image:
    """The image as torchvision's users open it: RGB, whatever is in the file."""
    with Image.open(path) as image:
        return image.convert("RGB")


def our_augmentation(settings: BenchSettings) -> Callable[[np.ndarray], torch.Tensor]:
    """An image's pixels to a training tensor, as our data set makes it."""
    transform, seeds = ResizedCrop(settings.image_size_px), itertools.count()

    def augment(image: np.ndarray) -> torch.Tensor:
        mask = np.zeros(image.shape[:2], dtype=np.uint8)
        image, _, _ = transform(image, mask, CAPTION, has_mask=False, seed=next(seeds))
        return to_tensor(image)

    return augment


def their_augmentation(settings: BenchSettings) -> Callable[[Image.Image], torch.Tensor]:
    """The same in torchvision's words."""
    ours = ResizedCrop(settings.image_size_px)
    brightness, saturation, contrast, hue = ours.color_jitter_bsch
    bilinear = tv.InterpolationMode.BILINEAR
    return tv.Compose(
        [
            tv.RandomHorizontalFlip(ours.horizontal_flip_probability),
            tv.RandomVerticalFlip(ours.vertical_flip_probability),
            tv.RandomRotation(ours.rotation_degrees, interpolation=bilinear),
            tv.ColorJitter(brightness, contrast, saturation, hue),
            tv.RandomResizedCrop(ours.size_px, scale=ours.crop_scale, interpolation=bilinear),
            tv.ToTensor(),
            tv.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )


PARTS = {"images": measure_images}
