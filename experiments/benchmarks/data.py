"""Images a second on one core from file to training tensor, beside Pillow and torchvision.

Both sides open the same files and make the same five augmentations of Table 2 with bilinear
interpolation: two flips, a turn, colour jitter, and a crop resized to a square. torchvision works
on RGB, as its users open images; we keep grey ones in one channel.
"""

import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from PIL import Image
from torchvision import transforms as tv

from datamodules.captions import Caption
from datamodules.decode import image_paths, open_pixels
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
Item = TypeVar("Item")


def measure_images(settings: BenchSettings) -> list[Measurement]:
    """The whole chain, and its two parts.

    Raises ValueError where the folder holds no images or one cannot be read.
    """
    with tempfile.TemporaryDirectory() as folder:
        if settings.images is not None:
            paths = find_images(settings.images)
        else:
            source = Synthetic(RENDERED_IMAGES, RENDERED_SIZE_PX)
            paths = [Path(folder) / record.image for record in source.records(Path(folder))]
        pixels, images = [open_pixels(path) for path in paths], [open_rgb(path) for path in paths]
        ours, theirs = our_augmentation(settings), their_augmentation(settings)
        sides: list[tuple[str, Work, Work, float | None]] = [
            (
                "file to tensor, against Pillow + torchvision",
                over(paths, lambda path: ours(open_pixels(path))),
                over(paths, lambda path: theirs(open_rgb(path))),
                CHAIN_LIMIT,
            ),
            ("decoding, against Pillow", over(paths, open_pixels), over(paths, open_rgb), None),
            ("augmenting, against torchvision", over(pixels, ours), over(images, theirs), None),
        ]
        # torchvision draws from torch's own generator, which is left as it was.
        with torch.random.fork_rng(devices=[]):
            return [
                compare_times(
                    name,
                    *time_in_turns((own, reference), repeats=settings.repeats),
                    count=len(paths),
                    unit="images/s per core",
                    limit=limit,
                    settings={
                        "images": "real" if settings.images else "rendered",
                        "count": len(paths),
                        "grey": sum(image.ndim == 2 for image in pixels),
                        "px": settings.image_size_px,
                    },
                )
                for name, own, reference, limit in sides
            ]


def find_images(folder: Path) -> list[Path]:
    """At most MOST_IMAGES images, evenly drawn from those under the folder; ValueError for none."""
    paths = image_paths(folder)
    if not paths:
        raise ValueError(f"--images: no image is under {folder}")
    chosen = np.linspace(0, len(paths) - 1, min(len(paths), MOST_IMAGES)).round().astype(int)
    return [paths[index] for index in chosen]


def over(items: Sequence[Item], work: Callable[[Item], object]) -> Work:
    """A call that does the work on every item and keeps no result: kept ones cost fresh memory."""

    def call() -> None:
        for item in items:
            work(item)

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
