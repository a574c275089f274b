"""Solar panels with Pascal VOC boxes: an image without XML, an XML without objects."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tests.datamodules.sources.layouts.neu_det import Corners, write_voc
from tests.datamodules.sources.painting import save, texture


def write(root: Path) -> None:
    """Two images with boxes and two that nobody labelled."""
    write_panel(root, 5, {"hot_spot": (5, 5, 9, 9), "black_border": (1, 1, 50, 3)})
    write_panel(root, 6, {"no_electricity": (11, 1, 40, 40)})
    write_panel(root, 7, {})
    write_panel(root, 8, None)


def write_panel(root: Path, number: int, boxes: Mapping[str, Corners] | None) -> None:
    """One image, and its XML unless boxes is None."""
    rgb = np.repeat(texture(number)[..., None], 3, axis=2)
    save(root / "JPEGImages" / f"img{number}.jpg", rgb)
    (root / "Annotations").mkdir(exist_ok=True)
    if boxes is not None:
        write_voc(root / "Annotations" / f"img{number}.xml", boxes)
