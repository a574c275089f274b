"""Small images and masks for fake data sets."""

from pathlib import Path

import numpy as np
from PIL import Image

HEIGHT_PX, WIDTH_PX = 40, 50
SPOT = (slice(10, 20), slice(5, 20))


def save(path: Path, pixels: np.ndarray) -> None:
    """Write pixels (H, W) or (H, W, 3) as the kind of file that the suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.astype(np.uint8)).save(path)


def texture(seed: int) -> np.ndarray:
    """A random grey image (40, 50), another one for each seed."""
    return np.random.default_rng(seed).integers(0, 255, (HEIGHT_PX, WIDTH_PX))


def rgb(seed: int) -> np.ndarray:
    """A random image (40, 50, 3) whose channels are equal."""
    return np.repeat(texture(seed)[..., None], 3, axis=2)


def spot(grey: int) -> np.ndarray:
    """A mask (40, 50) with the value `grey` in a rectangle at the left: x 5-19, y 10-19."""
    mask = np.zeros((HEIGHT_PX, WIDTH_PX))
    mask[SPOT] = grey
    return mask
