"""Charts of a test: confusion, recall by type, precision over recall, reliability of scores."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

CHART_IN, CHART_DPI = 5.0, 120
MOST_WRITTEN = 12  # classes whose counts still fit into their cells
SCATTERED = 4  # points that are worth no line


def draw_confusion(names: Sequence[str], confusion: Tensor) -> Figure:
    """Images by true type (rows) and answer (columns), shaded by the share of their row.

    confusion: (K+1, K+1) counts.
    """
    counts = confusion.numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = new_chart(len(names))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), names)
    if len(names) <= MOST_WRITTEN:
        for row, column in zip(*np.nonzero(counts), strict=True):
            ink = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", color=ink)
    axes.set(xlabel="answer", ylabel="truth")
    return figure


def draw_types(names: Sequence[str], confusion: Tensor) -> Figure:
    """A bar per type that occurs: its recall, the share of its images that were answered right.

    confusion: (K+1, K+1) counts.
    """
    counts = confusion.numpy()
    number, right = counts.sum(axis=1), counts.diagonal()
    some = np.flatnonzero(number).tolist()
    figure, axes = new_chart(len(some))
    bars = axes.barh([names[place] for place in some], right[some] / number[some])
    axes.bar_label(bars, [f"{right[place]} of {number[place]}" for place in some], padding=3)
    axes.set(xlim=(0, 1.25), xlabel="recall by images")
    axes.invert_yaxis()
    return figure


def draw_precision_recall(curves: Mapping[str, Tensor]) -> Figure:
    """Precision over recall, by what is found; curves: (N, 2) each."""
    figure, axes = new_chart()
    for name, points in curves.items():
        if len(points):
            recall, precision = points.numpy().T
            marker = "o" if len(points) <= SCATTERED else None
            axes.plot(recall, precision, marker=marker, label=name)
    return over_unit_square(figure, axes, x="recall", y="precision")


def draw_reliability(curves: Mapping[str, Tensor]) -> Figure:
    """Share of true ones over the score that was given; on the diagonal scores are honest.

    curves: (N, 3) each, mean score, share and number.
    """
    figure, axes = new_chart()
    axes.plot([0, 1], [0, 1], color="grey", linestyle=":")
    for name, points in curves.items():
        if len(points):
            score, share, number = points.numpy().T
            axes.plot(score, share, alpha=0.6, label=f"{name} ({int(number.sum())} scores)")
            axes.scatter(score, share, s=4 + 60 * number / number.max())
    return over_unit_square(figure, axes, x="score", y="share that is true")


def new_chart(class_count: int = 0) -> tuple[Figure, Axes]:
    """A square figure of its own, which no window knows, with room for so many class names."""
    side_in = max(CHART_IN, 0.35 * class_count)
    figure = Figure(figsize=(side_in, side_in), dpi=CHART_DPI, layout="constrained")
    return figure, figure.add_subplot()


def over_unit_square(figure: Figure, axes: Axes, *, x: str, y: str) -> Figure:
    """The chart with names of its axes and a legend, from 0 to 1 both ways."""
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel=x, ylabel=y)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    return figure


def pixels_of_figure(figure: Figure) -> np.ndarray:
    """(H, W, 3) uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
