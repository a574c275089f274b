"""VisA: CSV splits, comma-parted labels, masks whose grey values are type numbers."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.datamodules.sources.painting import save, spot, texture

GOOD_ROWS = (
    "candle,train,normal,candle/Data/Images/Normal/0000.JPG,",
    "candle,test,normal,candle/Data/Images/Normal/0001.JPG,",
)
BAD_ROWS = (
    "candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png",
    "pcb4,test,anomaly,pcb4/Data/Images/Anomaly/000.JPG,pcb4/Data/Masks/Anomaly/000.png",
)


def write(root: Path, rows: Sequence[str] = (*GOOD_ROWS, *BAD_ROWS)) -> None:
    """Two good candles, a candle with two types, a board with one; 1cls.csv holds `rows`."""
    for seed, row in enumerate((*GOOD_ROWS, *BAD_ROWS)):
        save(root / row.split(",")[3], texture(seed))
    two_types = spot(4)
    two_types[30:33, 30:40] = 6
    write_mask(root, "candle", two_types)
    write_mask(root, "pcb4", spot(7))
    label = '"different colour spot,foreign particals on candle"'
    write_labels(root, "candle", ["candle/Data/Images/Normal/0000.JPG,normal,"], label)
    write_labels(root, "pcb4", [], "dirt")
    (root / "split_csv").mkdir()
    text = "\n".join(("object,split,label,image,mask", *rows)) + "\n"
    (root / "split_csv" / "1cls.csv").write_text(text, encoding="utf-8")


def write_mask(root: Path, kind: str, mask: np.ndarray) -> None:
    """The mask of the one anomalous picture of an object."""
    save(root / kind / "Data/Masks/Anomaly/000.png", mask)


def write_labels(root: Path, kind: str, rows: list[str], label: str) -> None:
    """The file image_anno.csv of an object: `rows`, then its anomalous picture with `label`."""
    image, mask = f"{kind}/Data/Images/Anomaly/000.JPG", f"{kind}/Data/Masks/Anomaly/000.png"
    text = "\n".join(("image,label,mask", *rows, f"{image},{label},{mask}")) + "\n"
    (root / kind / "image_anno.csv").write_text(text, encoding="utf-8")
