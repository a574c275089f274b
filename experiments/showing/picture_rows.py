"""Rows of pictures under titles as one figure, returned and never shown."""

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

CELL_IN = 2.2
TITLE_LETTERS = 34


def picture_rows(
    rows: Sequence[Sequence[np.ndarray]],
    *,
    titles: Sequence[Sequence[str]],
    labels: Sequence[str] = (),
) -> Figure:
    """A figure with a row per item of `rows`; pictures: (H, W, 3) uint8 or (H, W) in [0, 1].

    titles: over each picture, "" for none; labels: beside each row.
    """
    columns = max(len(row) for row in rows)
    size = (CELL_IN * columns, (CELL_IN + 0.5) * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for row, (axes, pictures) in enumerate(zip(grid, rows, strict=True)):
        for place, one in enumerate(axes):
            one.set_xticks([])
            one.set_yticks([])
            if place >= len(pictures):
                one.axis("off")
                continue
            one.imshow(pictures[place], cmap="gray" if pictures[place].ndim == 2 else None)
            one.set_title(textwrap.fill(titles[row][place], TITLE_LETTERS), fontsize=7)
        if labels:
            axes[0].set_ylabel(labels[row], fontsize=8)
    return figure
