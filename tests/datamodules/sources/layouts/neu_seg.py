"""Steel strip: index masks in folders of their own, numbers that occur in both splits."""

from pathlib import Path

import numpy as np

from tests.datamodules.sources.painting import save, spot, texture


def write(root: Path) -> None:
    """Three training images and a test image, the last training one with two types."""
    for number, split in enumerate(("training", "training", "training", "test")):
        write_strip(root, split, number % 3, mask=spot(1 + number % 3), seed=number)
    mask = spot(2)
    mask[30:, 30:35] = 3
    write_strip(root, "training", 2, mask=mask, seed=2)


def write_strip(root: Path, split: str, number: int, *, mask: np.ndarray, seed: int) -> None:
    """One image of three equal channels, and its mask of ids."""
    rgb = np.repeat(texture(seed)[..., None], 3, axis=2)
    save(root / "images" / split / f"{number:06d}.jpg", rgb)
    save(root / "annotations" / split / f"{number:06d}.png", mask)
