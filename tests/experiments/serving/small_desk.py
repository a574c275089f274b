"""A desk whose machine calls bright pixels a pit, and images for it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from experiments.predictor import Predictor
from experiments.serving.corrections import Corrections
from experiments.serving.desk import Desk, Draft, Entry
from tests.experiments.test_predict import FindsBrightPixels

WORDS = "pit; burr"
SIZE_PX = (40, 60)


def bright_mask(place: int = 0) -> np.ndarray:
    """The patch of image number `place`, (H, W) bool."""
    mask = np.zeros(SIZE_PX, dtype=bool)
    mask[10:20, 20 + place : 40 + place] = True
    return mask


def save_image(folder: Path, place: int = 0) -> Path:
    """A grey image with a bright patch, another for each number."""
    pixels = np.full(SIZE_PX, 60, dtype=np.uint8)
    pixels[bright_mask(place)] = 250
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"part {place}.png"
    Image.fromarray(pixels).save(path)
    return path


@contextmanager
def small_desk(out: Path) -> Iterator[Desk]:
    """The desk that writes to a folder."""
    predictor = Predictor(FindsBrightPixels())  # type: ignore[arg-type]
    with Desk(predictor, Corrections(out), product="bearing ring", material="steel") as desk:
        yield desk


def drop(desk: Desk, *files: Path) -> list[Entry]:
    """The entries of images that all have one."""
    found = [one for _, one in desk.answer([(file.name, file) for file in files], WORDS)]
    assert all(isinstance(one, Entry) for one in found), found
    return found  # type: ignore[return-value]


def dropped(desk: Desk, folder: Path, place: int = 0) -> Draft:
    """A new image, open to be reviewed."""
    (entry,) = drop(desk, save_image(folder, place))
    return desk.open(entry.key, "to review")
