"""Where pre-training begins to pay: stage 2 by stage 1's images and width."""

import math
from collections.abc import Mapping

import numpy as np

from experiments.reporting.report import Results, UsualReport
from experiments.reporting.rows import Estimate

WIDTH, IMAGES = "U-Net", "images"  # the table's columns
FIGURE = "iou_image"
FEWEST_POINTS = 3  # that a line is put through


class PretrainingScale(UsualReport):
    """The usual answers, and of each width from which number of images on it pays, and the trend.

    The variant of a width without images is the one that the others are compared with.
    """

    def answers(self, results: Results) -> list[str]:
        """Differences first, then a line or two for each width."""
        said, by_width = super().answers(results), dict[str, dict[int, str]]()
        for name, labels in results.study.labels.items():
            by_width.setdefault(labels[WIDTH], {})[int(labels[IMAGES])] = name
        for width, names in by_width.items():
            none = names.pop(0, "")
            found = {count: results.of(name, FIGURE) for count, name in sorted(names.items())}
            known = {count: mean for count, mean in found.items() if mean}
            gains = {count: results.change(names[count], none, FIGURE) for count in known}
            if (least := pays_from(gains)) is not None:
                said.append(f"{width}: stage 1 pays from {least} images on")
            if len(known) >= FEWEST_POINTS:
                said.append(f"{width}: {trend(known)}")
        return said


def pays_from(gains: Mapping[int, Estimate | None]) -> int | None:
    """The least number of images from which on every gain can be told; None without one."""
    least = None
    for count in sorted(gains, reverse=True):
        gain = gains[count]
        if gain is None or not (gain.excludes_zero and gain.mean > 0):
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
        f"{FIGURE} changes by {slope:+.4f} for ten times the images; the {len(known)} points "
        f"scatter by {spread:.4f} about that line"
    )
    if slope <= 0 or promise > 1:
        return f"{words}, which promises nothing"
    return f"{words}, which would be {promise:.3f} at a million"
