"""Where pre-training begins to pay: stage 2 by stage 1's images and width."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from experiments.reporting.paper_figures import IOU
from experiments.reporting.paper_tables import Estimate, curves
from experiments.reporting.plan import Study
from experiments.reporting.usual_report import Results, UsualReport

if TYPE_CHECKING:
    from matplotlib.figure import Figure

WIDTH, IMAGES = "U-Net", "images"  # the table's columns
FEWEST_POINTS = 3  # that a line is put through


class PretrainingScale(UsualReport):
    """What each number of images adds to none, from which on it pays, and the trend."""

    def charts(self, study: Study, results: Results) -> "dict[str, Figure]":
        """IoU over images, a line for each width."""
        lines = {
            width: [
                (max(count, 1), results.of(name, study.metric_of(IOU))) for count, name in named
            ]
            for width, named in by_width(study).items()
        }
        x = "images seen in stage 1 (1: none)"
        return {IOU: curves(lines, x=x, y=IOU, logarithmic=True)}

    def answers(self, study: Study, results: Results) -> Sequence[str]:
        """By width, over the same seeds."""
        said, metric = [], study.metric_of(IOU)
        for width, named in by_width(study).items():
            names = dict(named)
            known = {
                count: found
                for count, name in named
                if count and (found := results.of(name, metric))
            }
            gains = {
                count: gain
                for count in known
                if 0 in names and (gain := results.change(names[count], names[0], metric))
            }
            for count, gain in gains.items():
                said.append(f"{width}, {count} images instead of none: {IOU} {gain.in_words()}")
            if (least := pays_from(gains)) is not None:
                said.append(f"{width}: stage 1 pays from {least} images on")
            if len(known) >= FEWEST_POINTS:
                said.append(f"{width}: {trend(known)}")
        return said


def by_width(study: Study) -> dict[str, list[tuple[int, str]]]:
    """The variants of each width by their number of images, ascending."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name, labels in study.labels.items():
        found.setdefault(labels[WIDTH], []).append((int(labels[IMAGES]), name))
    return {width: sorted(named) for width, named in found.items()}


def pays_from(gains: Mapping[int, Estimate]) -> int | None:
    """The least number of images from which on every gain can be told; None without one."""
    least = None
    for count in sorted(gains, reverse=True):
        if not (gains[count].excludes_zero and gains[count].mean > 0):
            break
        least = count
    return least


def trend(known: Mapping[int, Estimate]) -> str:
    """The line through IoU over the logarithm of images, and its error."""
    x = np.log10(list(known))
    y = np.array([found.mean for found in known.values()])
    slope, start = np.polyfit(x, y, 1)
    spread = float(np.std(y - (slope * x + start)))
    promise = slope * math.log10(1e6) + start
    words = (
        f"{IOU} changes by {slope:+.4f} for ten times the images; the {len(known)} points scatter "
        f"by {spread:.4f} about that line"
    )
    if slope <= 0 or promise > 1:
        return f"{words}, which promises nothing"
    return f"{words}, which would be {promise:.3f} at a million"
