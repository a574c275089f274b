"""The good pictures of a prepared set that defects may be painted into: those of training alone."""

from pathlib import Path

import numpy as np

from datamodules.few_shots import FewShots
from datamodules.manifest import Manifest
from datamodules.sample import GOOD
from experiments.inference.inputs import name_images

SUFFIX = ".parquet"


def good_training_pictures(file: Path, limit: int | None, *, seed: int) -> dict[str, Path]:
    """Name -> picture, real and without a defect, of the training split of a manifest.

    limit: at most so many, those that `shots_per_type` keeps under `split_seed` = `seed`. Raises
    FileNotFoundError or ValueError, one line, for no manifest and for one without good pictures.
    """
    index = Manifest.open(file)
    rows = index.rows_of("train")
    if any(index.column("window_xywh_px")):
        raise ValueError(
            f"--images {file} has windows of larger pictures, of which others may show a defect: "
            "expected whole pictures, prepared without tile_px"
        )
    is_generated = np.array(index.column("is_generated"), dtype=bool)
    good = [
        row
        for row, name in zip(rows.tolist(), index.types_of(rows), strict=True)
        if name == GOOD and not is_generated[row]
    ]
    if not good:
        raise ValueError(
            f"--images {file} has no good picture among its {len(rows)} of training: expected "
            "some to paint into; name a folder of them"
        )
    chosen = FewShots(per_type=limit, seed=seed).choose(index, np.array(good))
    images = index.column("image")
    found = [index.root / images[row] for row in chosen.tolist()]
    return {image.name: image.path for image in name_images(found, index.root)}
