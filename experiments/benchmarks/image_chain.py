"""Pictures a second on one core: file -> training tensor, against Pillow + torchvision transforms.

Both sides open the same files and make the same five augmentations of Table 2 with bilinear
interpolation: two flips, a turn, colour jitter, and a crop resized to a square. torchvision works
on RGB, as its users open pictures; we keep grey ones in one channel, and one row does not.
"""

import itertools
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import torch
from PIL import Image
from torchvision import transforms as tv

from datamodules.captions import Caption
from datamodules.decode import IMAGE_SUFFIXES, open_image, open_pixels
from datamodules.sources.synthetic import Synthetic
from datamodules.transforms import ResizedCrop, to_tensor
from experiments.measuring.measurements import BenchSettings, Measurement, throughput

VERB = "data"
MOST_IMAGES = 48
RENDERED_IMAGES = 16
RENDERED_SIZE_PX = 640
# Of a chain with a decoder that scales while it decodes and one fused warp, from public figures.
CHAIN_LIMIT = 5.0
CAPTION = Caption("part")
Item = TypeVar("Item")
Work = Callable[[], object]


def measure(settings: BenchSettings) -> list[Measurement]:
    """The whole chain, its two parts, and our decoding beside bare OpenCV.

    Raises ValueError where the folder holds no pictures or one cannot be read.
    """
    if settings.images is not None:
        return _measure(find_pictures(settings.images), settings)
    with tempfile.TemporaryDirectory() as folder:
        source = Synthetic(RENDERED_IMAGES, RENDERED_SIZE_PX)
        paths = [Path(folder) / record.image for record in source.records(Path(folder))]
        return _measure(paths, settings)


def find_pictures(folder: Path) -> list[Path]:
    """At most MOST_IMAGES pictures, evenly drawn from those under the folder in name order.

    Raises ValueError where there are none.
    """
    suffixed = (path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    paths = sorted(path for path in suffixed if path.is_file())
    if not paths:
        raise ValueError(f"--images: no picture ({', '.join(IMAGE_SUFFIXES)}) is under {folder}")
    chosen = np.linspace(0, len(paths) - 1, min(len(paths), MOST_IMAGES)).round().astype(int)
    return [paths[index] for index in chosen]


def _measure(paths: Sequence[Path], settings: BenchSettings) -> list[Measurement]:
    ours, theirs = _our_augmentation(settings), _their_augmentation(settings)
    pixels = [open_pixels(path) for path in paths]
    pictures = [open_with_pillow(path) for path in paths]
    described = _describe(pixels, settings)

    def row(name: str, call: Work, reference: Work, limit: float | None = None) -> Measurement:
        return throughput(
            name,
            call,
            reference,
            count=len(paths),
            unit="images/s per core",
            repeats=settings.repeats,
            limit=limit,
            settings=described,
        )

    # torchvision draws from torch's own generator, which is left as it was.
    with torch.random.fork_rng(devices=[]):
        return [
            row(
                "file to tensor, against Pillow + torchvision",
                _over(paths, lambda path: ours(open_pixels(path))),
                _over(paths, lambda path: theirs(open_with_pillow(path))),
                CHAIN_LIMIT,
            ),
            row(
                "the same, grey pictures in three channels on both sides",
                _over(paths, lambda path: ours(open_image(path))),
                _over(paths, lambda path: theirs(open_with_pillow(path))),
                CHAIN_LIMIT,
            ),
            row(
                "decoding, against Pillow",
                _over(paths, open_pixels),
                _over(paths, open_with_pillow),
            ),
            row(
                "decoding to three channels, against bare cv2.imdecode",
                _over(paths, open_image),
                _over(paths, decode_only),
                1.0,
            ),
            row("augmenting, against torchvision", _over(pixels, ours), _over(pictures, theirs)),
        ]


def _over(items: Sequence[Item], work: Callable[[Item], object]) -> Work:
    """A call that does the work on every item and keeps no result: kept ones cost fresh memory."""

    def call() -> None:
        for item in items:
            work(item)

    return call


def open_with_pillow(path: Path) -> Image.Image:
    """The picture as torchvision's users open it: RGB, whatever is in the file."""
    with Image.open(path) as picture:
        return picture.convert("RGB")


def decode_only(path: Path) -> np.ndarray:
    """The file decoded to RGB with no check but that it worked."""
    pixels = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_COLOR_RGB)
    if pixels is None:
        raise ValueError(f"OpenCV cannot decode {path}: choose a folder without such pictures")
    return pixels


def _our_augmentation(settings: BenchSettings) -> Callable[[np.ndarray], torch.Tensor]:
    transform = ResizedCrop(settings.image_size_px)
    seeds = itertools.count()

    def augment(image: np.ndarray) -> torch.Tensor:
        mask = np.zeros(image.shape[:2], dtype=np.uint8)
        image, _, _ = transform(image, mask, CAPTION, has_mask=False, seed=next(seeds))
        return to_tensor(image)

    return augment


def _their_augmentation(settings: BenchSettings) -> Callable[[Image.Image], torch.Tensor]:
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


def _describe(
    pixels: Sequence[np.ndarray], settings: BenchSettings
) -> dict[str, str | int | float]:
    """What was measured on, in words."""
    sides = [max(image.shape[:2]) for image in pixels]
    return {
        "pictures": "real" if settings.images else "rendered",
        "count": len(pixels),
        "grey": sum(image.ndim == 2 for image in pixels),
        "px": f"{min(sides)}-{max(sides)} to {settings.image_size_px}",
    }
