"""What generate leaves: marked PNGs, their masks, one line of JSON for each, and a grid of them.

The marks are `datamodules/formats/synthetic_mark.py`; `datamodules/sources/generated.py` reads
the folder to train on it.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from callbacks.drawing import (
    Panel,
    draw_grid,
    draw_overlay,
    join_side_by_side,
    resize_image,
    scale_to_fit,
)
from datamodules.captions import Caption
from datamodules.formats.synthetic_mark import Origin, marked_text, origin_text
from datamodules.sources.generated import TABLE

GRID_NAME = "grid.png"
ENTRIES = ("images", "masks", TABLE, GRID_NAME)
GRID_PICTURES, GRID_COLUMNS, GRID_SIDE_PX = 48, 4, 224


@dataclass(frozen=True, slots=True)
class Painted:
    """A generated picture and all that is said of it.

    pixels: (H, W, 3), or (H, W) grey, uint8; mask: (H, W) bool where a defect was painted into
    `source` (like pixels); defect: types parted by ";", "good", or None where nobody said;
    caption: None for a prompt in free words; facts: of the source, for the line of JSON.
    """

    pixels: np.ndarray
    origin: Origin
    defect: str | None
    caption: Caption | None
    mask: np.ndarray | None = None
    source: np.ndarray | None = None
    facts: Mapping[str, object] | None = None


class GeneratedFiles:
    """Writes generated pictures into an empty folder, one by one; `finish` adds the grid."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.count = 0
        self._panels: list[Panel] = []
        (folder / "images").mkdir()

    def add(self, painted: Painted) -> None:
        """Write a picture, its mask and its line."""
        name = f"{self.count:06}.png"
        text = origin_text(painted.origin)
        Image.fromarray(painted.pixels).save(self.folder / "images" / name, pnginfo=text)
        if painted.mask is not None:
            (self.folder / "masks").mkdir(exist_ok=True)
            grey = Image.fromarray(painted.mask.astype(np.uint8) * 255)
            grey.save(self.folder / "masks" / name, pnginfo=text)
        line = {
            "image": f"images/{name}",
            "mask": "" if painted.mask is None else f"masks/{name}",
            "defect": painted.defect,
            "caption": None if painted.caption is None else asdict(painted.caption),
            **asdict(painted.origin),
            **(painted.facts or {}),
        }
        with (self.folder / TABLE).open("a", encoding="utf-8") as table:
            table.write(json.dumps(line, ensure_ascii=False) + "\n")
        if len(self._panels) < GRID_PICTURES:
            self._panels.append(panel_of(painted))
        self.count += 1

    def finish(self, checkpoint_sha256: str) -> None:
        """Write the grid of the first pictures, marked as they are."""
        columns = min(GRID_COLUMNS, max(1, round(len(self._panels) ** 0.5)))
        title = f"synthetic, checkpoint {checkpoint_sha256[:12]}"
        grid = Image.fromarray(draw_grid(self._panels, columns=columns, title=title))
        text = marked_text({"checkpoint_sha256": checkpoint_sha256})
        grid.save(self.folder / GRID_NAME, pnginfo=text)


def panel_of(painted: Painted) -> Panel:
    """The picture over its prompt and seed; beside its source and its mask where it has them."""
    pictures = [in_colour(painted.pixels)]
    if painted.source is not None and painted.mask is not None:
        overlay = draw_overlay(pictures[0], painted.mask.astype(np.int64), ())
        pictures = [in_colour(painted.source), pictures[0], overlay]
    scaled = [resize_image(p, scale_to_fit(p, GRID_SIDE_PX)) for p in pictures]
    return Panel(join_side_by_side(scaled), f"{painted.origin.prompt} ({painted.origin.seed})")


def in_colour(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) pixels of a picture that may be grey (H, W)."""
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=2)
