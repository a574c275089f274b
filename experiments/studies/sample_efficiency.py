"""Table 7: how many images per type a wanted accuracy takes, by what the nets knew before."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

from experiments.reporting.report import Results, UsualReport
from experiments.reporting.rows import (
    NOT_REACHED,
    NOT_RUN,
    PaperTable,
    Row,
    estimate,
    paper_figure,
)

START, SHOTS = "pre-training", "K"  # the table's columns
FIGURE = "type_accuracy"
PAPERS_TARGET = 0.95


class SampleEfficiency(UsualReport):
    """K-shot curves by what was known before, and the images that `target`, an accuracy, takes."""

    def __init__(self, target: float = PAPERS_TARGET) -> None:
        self.target = target

    def tables(self, results: Results) -> list[PaperTable]:
        """Samples for the target by start, and the curves they are read from."""
        starts: dict[str, dict[int, str]] = {}
        for name, labels in results.study.labels.items():
            starts.setdefault(labels[START], {})[int(labels[SHOTS])] = name
        paper = "table_7" if self.target == PAPERS_TARGET else ""
        rows = [
            row
            for start, names in starts.items()
            for row in self.samples(results, start, dict(sorted(names.items()))).beside(
                paper_figure(paper, {START: start}, "samples")
            )
        ]
        title = f"Table 7: images per type for an accuracy of {self.target}"
        return [PaperTable("table_7", title, (START,), tuple(rows)), *super().tables(results)]

    def samples(self, results: Results, start: str, names: dict[int, str]) -> Row:
        """The samples for the target, by each seed's own whole curve; names: variants by K."""
        found = [
            [results.value(name, seed, FIGURE) for name in names.values()] for seed in results.seeds
        ]
        whole = [curve for curve in found if not any(map(math.isnan, curve))]
        counts = [first_reaching([*names], curve, self.target) for curve in whole]
        reached = [count for count in counts if count is not None]
        outcome = ""
        if not whole:
            outcome = NOT_RUN
        elif not reached:
            outcome = NOT_REACHED
        elif len(reached) < len(whole):
            outcome = f"{NOT_REACHED} by {len(whole) - len(reached)} of {len(whole)} seeds"
        rows = [results.row(name, FIGURE) for name in names.values()]
        return replace(
            rows[0],
            labels={START: start},
            figure="samples",
            ours=None if outcome else estimate(reached),
            setting="k_shot" if whole else "",
            runs=tuple(run for row in rows for run in row.runs),
            outcome=outcome,
        )


def first_reaching(
    counts: Sequence[float], figures: Sequence[float], target: float
) -> float | None:
    """The least count at which the curve reaches `target`, None where it never does.

    counts ascend. Between two counts the curve is a line over their logarithm, as sample counts are
    spaced; what the first count reaches already is answered by that count.
    """
    points = list(zip(counts, figures, strict=True))
    if points and points[0][1] >= target:
        return points[0][0]
    for (before, low), (after, high) in itertools.pairwise(points):
        if low < target <= high:
            share = (target - low) / (high - low)
            return math.exp(math.log(before) + share * (math.log(after) - math.log(before)))
    return None
