"""Draws what a test has found out: who was taken for whom, precision, and how honest scores are."""

from collections.abc import Mapping, Sequence
from typing import Protocol, cast

import numpy as np
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from torch import Tensor

from callbacks.picture_log import keep_picture

SIDE_IN, DPI = 5.0, 120
MOST_WRITTEN = 12  # classes whose counts still fit into their cells
SCATTERED = 4  # points that are worth no line


class DrawnCurves(Protocol):
    """What is drawn: `metrics/curves.py` says what each of them holds."""

    names: Sequence[str]
    confusion: Tensor
    precision_recall: Mapping[str, Tensor]
    reliability: Mapping[str, Tensor]


class KeepsCurves(Protocol):
    """What counts an evaluation."""

    def curves(self, split: str) -> DrawnCurves:
        """The curves of a split, of all processes."""
        ...


class EvaluationCharts(Callback):
    """Writes `pictures/confusion_<step>.png`, `types_...`, `precision_recall_...` and
    `reliability_...` at test.

    The module keeps what it counts in `evaluation`.
    """

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws, saves and logs; comes before the module computes its figures and forgets."""
        curves = cast(KeepsCurves, pl_module.evaluation).curves("test")
        if not trainer.is_global_zero:
            return
        charts = {
            "confusion": draw_confusion(curves.names, curves.confusion),
            "types": draw_types(curves.names, curves.confusion),
            "precision_recall": draw_precision_recall(curves.precision_recall),
            "reliability": draw_reliability(curves.reliability),
        }
        for key, figure in charts.items():
            keep_picture(trainer, pixels_of_figure(figure), key=key)


def draw_confusion(names: Sequence[str], confusion: Tensor) -> Figure:
    """Images by true type (rows) and answer (columns), shaded by the share of their row.

    confusion: (K+1, K+1) counts.
    """
    counts = confusion.numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = new_chart(side_in=max(SIDE_IN, 0.35 * len(names)))
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    places = range(len(names))
    axes.set_xticks(places, names, rotation=45, ha="right")
    axes.set_yticks(places, names)
    if len(names) <= MOST_WRITTEN:
        for row, column in zip(*np.nonzero(counts), strict=True):
            ink = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, counts[row, column], ha="center", va="center", color=ink)
    axes.set_xlabel("answer")
    axes.set_ylabel("truth")
    return figure


def draw_types(names: Sequence[str], confusion: Tensor) -> Figure:
    """A bar per type that occurs: its recall, the share of its images that were answered right.

    confusion: (K+1, K+1) counts.
    """
    counts = confusion.numpy()
    number, right = counts.sum(axis=1), counts.diagonal()
    some = np.flatnonzero(number).tolist()
    figure, axes = new_chart(side_in=max(SIDE_IN, 0.35 * len(some)))
    bars = axes.barh([names[place] for place in some], right[some] / number[some])
    axes.bar_label(bars, [f"{right[place]} of {number[place]}" for place in some], padding=3)
    axes.set_xlim(0, 1.25)
    axes.invert_yaxis()
    axes.set_xlabel("recall by images")
    return figure


def draw_precision_recall(curves: Mapping[str, Tensor]) -> Figure:
    """Precision over recall, by what is found; curves: (N, 2) each."""
    figure, axes = new_chart()
    for name, points in curves.items():
        if len(points):
            recall, precision = points.numpy().T
            marker = "o" if len(points) <= SCATTERED else None
            axes.plot(recall, precision, marker=marker, label=name)
    return labelled(figure, axes, x="recall", y="precision")


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
    return labelled(figure, axes, x="score", y="share that is true")


def new_chart(*, side_in: float = SIDE_IN) -> tuple[Figure, Axes]:
    """A figure of its own, which no window knows."""
    figure = Figure(figsize=(side_in, side_in), dpi=DPI, layout="constrained")
    return figure, figure.add_subplot()


def labelled(figure: Figure, axes: Axes, *, x: str, y: str) -> Figure:
    """The chart with its words, over the unit square."""
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[0]:
        axes.legend()
    return figure


def pixels_of_figure(figure: Figure) -> np.ndarray:
    """(H, W, 3) uint8."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()
