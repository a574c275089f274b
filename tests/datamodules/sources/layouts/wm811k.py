"""WM-811K: the published table as Parquet, maps and words boxed in lists."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

# Lot, published split, published pattern; "" is an empty box.
WAFERS = (
    ("lot1", "Training", "none"),
    ("lot1", "Training", "Edge-Ring"),
    ("lot2", "Test", "Near-full"),
    ("lot2", "", ""),
)


def write(root: Path) -> None:
    """Four wafers: a good one, two with a pattern, one that nobody has labelled."""
    write_table(root, columns())


def write_table(root: Path, content: Mapping[str, object]) -> None:
    """The table of these columns."""
    pq.write_table(pa.table(content), root / "wm811k.parquet")


def columns() -> dict[str, list]:
    """The columns as the conversion of the pickle leaves them."""
    return {
        "waferMap": [dies(row).tolist() for row in range(len(WAFERS))],
        "dieSize": [1683.0] * len(WAFERS),
        "lotName": [lot for lot, _, _ in WAFERS],
        "trianTestLabel": [box(split) for _, split, _ in WAFERS],
        "failureType": [box(pattern) for _, _, pattern in WAFERS],
    }


def dies(row: int) -> np.ndarray:
    """A map (8 + row, 9) of dies, each row of the table with its own size."""
    values = np.random.default_rng(row).integers(1, 3, (8 + row, 9)).astype(np.uint8)
    values[0, 0] = 0
    return values


def box(word: str) -> list[list[str]]:
    """A word as the table holds it: [[word]], or an empty list for none."""
    return [[word]] if word else []
