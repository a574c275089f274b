"""Figures of a study, returned and never shown: curves with bands, and bars with whiskers."""

import math
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from experiments.comparing.estimates import Estimate

Curve = Sequence[tuple[float, Estimate | None]]
WIDTH_IN, HEIGHT_IN = 6.0, 3.6


def curves(lines: Mapping[str, Curve], *, x: str, y: str, logarithmic: bool = False) -> Figure:
    """A line per name with its interval as a band; what has not run leaves a gap."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    axes = figure.add_subplot()
    for name, points in lines.items():
        known = [(at, found) for at, found in points if found]
        places = [at for at, _ in known]
        axes.plot(places, [found.mean for _, found in known], marker="o", label=name)
        low = [found.mean if math.isnan(found.low) else found.low for _, found in known]
        high = [found.mean if math.isnan(found.high) else found.high for _, found in known]
        axes.fill_between(places, low, high, alpha=0.2)
    if logarithmic:
        axes.set_xscale("log")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.3)
    if lines:
        axes.legend()
    return figure


def bars(heights: Mapping[str, Estimate | None], *, y: str) -> Figure:
    """A bar per name with its interval as a whisker."""
    figure = Figure(figsize=(WIDTH_IN, HEIGHT_IN), layout="constrained")
    axes = figure.add_subplot()
    known = {name: found for name, found in heights.items() if found}
    means = [found.mean for found in known.values()]
    reach = [0.0 if math.isnan(found.high) else found.high - found.mean for found in known.values()]
    axes.bar(list(known), means, yerr=reach, capsize=4)
    axes.set_ylabel(y)
    axes.grid(axis="y", alpha=0.3)
    axes.tick_params(axis="x", rotation=30)
    return figure
