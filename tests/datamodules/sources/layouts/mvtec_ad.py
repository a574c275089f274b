"""MVTec AD: two categories, with the text files and the grey images of the original."""

from pathlib import Path

import numpy as np

from tests.datamodules.sources.painting import save, spot, texture


def write(root: Path) -> None:
    """A coloured and a grey category; one type with an underscore in its name."""
    for number, category in enumerate(("bottle", "grid")):
        folder = root / category
        save(folder / "train/good/000.png", coloured(category, 10 * number))
        save(folder / "test/good/000.png", coloured(category, 10 * number + 1))
        save(folder / "test/broken_large/000.png", coloured(category, 10 * number + 2))
        save(folder / "ground_truth/broken_large/000_mask.png", spot(255))
        (folder / "readme.txt").write_text("Attribution", encoding="utf-8")
        (folder / "license.txt").write_text("CC BY-NC-SA 4.0", encoding="utf-8")


def coloured(category: str, seed: int) -> np.ndarray:
    """An image, coloured for all categories but grid."""
    grey = texture(seed)
    return grey if category == "grid" else np.stack([grey, grey[::-1], grey], axis=2)
