"""Table 7: how many images per type a wanted accuracy takes, by what the nets knew before."""

import itertools
import math
from collections.abc import Sequence

from experiments.reporting.paper_figures import ACCURACY, paper_figure
from experiments.reporting.paper_tables import (
    NOT_REACHED,
    NOT_RUN,
    PaperTable,
    Row,
    estimate,
)
from experiments.reporting.plan import Study
from experiments.reporting.usual_report import Results, UsualReport, usual_table

START, SHOTS = "pre-training", "K"  # the table's columns
PAPERS_TARGET = 0.95


class SampleEfficiency(UsualReport):
    """K-shot curves by what was known before, and the images that `target`, an accuracy, takes."""

    def __init__(self, target: float = PAPERS_TARGET) -> None:
        self.target = target

    def tables(self, study: Study, results: Results) -> Sequence[PaperTable]:
        """Samples for the target by start, and the curves they are read from."""
        rows = [row for start in by_start(study) for row in self.samples(study, results, start)]
        title = f"Table 7: images per type for an accuracy of {self.target}"
        samples = PaperTable("table_7", title, (START,), tuple(rows))
        return [samples, usual_table(study, self.rows(study, results))]

    def samples(self, study: Study, results: Results, start: str) -> tuple[Row, ...]:
        """The samples for the target, by each seed's own whole curve; the paper's word for them."""
        shots, names = zip(*by_start(study)[start], strict=True)
        metric = study.metric_of(ACCURACY)
        found = [[results.value(name, seed, metric) for name in names] for seed in results.seeds]
        whole = [curve for curve in found if not any(map(math.isnan, curve))]
        counts = [first_reaching(shots, curve, self.target) for curve in whole]
        reached = [count for count in counts if count is not None]
        outcome = ""
        if not whole:
            outcome = NOT_RUN
        elif not reached:
            outcome = NOT_REACHED
        elif len(reached) < len(whole):
            outcome = f"{NOT_REACHED} by {len(whole) - len(reached)} of {len(whole)} seeds"
        row = Row(
            {START: start},
            "samples",
            None if outcome else estimate(reached),
            setting="k_shot" if whole else "",
            data=results.tag(names[0], "dataset"),
            scale=results.tag(names[0], "scale"),
            runs=tuple(run for name in names for run in results.run_ids(name)),
            outcome=outcome,
        )
        table = "table_7" if self.target == PAPERS_TARGET else ""
        return row.beside(paper_figure(table, {START: start}, "samples"))


def by_start(study: Study) -> dict[str, list[tuple[int, str]]]:
    """The variants of each start by their K, ascending."""
    found: dict[str, list[tuple[int, str]]] = {}
    for name, labels in study.labels.items():
        found.setdefault(labels[START], []).append((int(labels[SHOTS]), name))
    return {start: sorted(named) for start, named in found.items()}


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
