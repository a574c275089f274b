"""WM-811K: a pickled pandas table of arrays, words boxed in arrays."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd

# Lot, published split, published pattern; "" is an empty box.
WAFERS = (
    ("lot1", "Training", "none"),
    ("lot1", "Training", "Edge-Ring"),
    ("lot2", "Test", "Near-full"),
    ("lot2", "", ""),
)


def write(root: Path) -> None:
    """Four wafers: a good one, two with a pattern, one that nobody has labelled."""
    root.mkdir(parents=True, exist_ok=True)
    (root / "LSWMD.pkl").write_bytes(pickle.dumps(table(), protocol=2))


def table() -> pd.DataFrame:
    """The table with columns of objects and their names as objects, as old pandas had them."""
    columns = {
        "waferMap": [dies(row) for row in range(len(WAFERS))],
        "dieSize": [1683.0] * len(WAFERS),
        "lotName": [lot for lot, _, _ in WAFERS],
        "waferIndex": [1.0, 2.0, 1.0, 2.0],
        "trianTestLabel": [box(split) for _, split, _ in WAFERS],
        "failureType": [box(pattern) for _, _, pattern in WAFERS],
    }
    frame = pd.DataFrame(columns, dtype=object)
    frame["dieSize"] = frame["dieSize"].astype(float)
    frame.columns = pd.Index(list(columns), dtype=object)
    return frame


def dies(row: int) -> np.ndarray:
    """A map (8 + row, 9) of dies, each row of the table with its own size."""
    values = np.random.default_rng(row).integers(1, 3, (8 + row, 9)).astype(np.uint8)
    values[0, 0] = 0
    return values


def box(word: str) -> np.ndarray:
    """A word as the table holds it: [[word]], or an empty array for none."""
    return np.array([[word]]) if word else np.zeros((0, 0))
