"""What the children of a study gave, and the usual report of it: a row per figure and variant."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.reporting.paper_figures import paper_figure, paper_tables
from experiments.reporting.paper_tables import (
    Estimate,
    PaperTable,
    Report,
    Row,
    bars,
    curves,
    estimate,
)
from experiments.reporting.plan import Best, Difference, Study, filled

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class ChildResult:
    """What a finished child left in the tracker."""

    run_id: str
    metrics: Mapping[str, float]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Results:
    """The finished children of a study by (variant, seed)."""

    found: Mapping[tuple[str, int], ChildResult]

    @property
    def seeds(self) -> list[int]:
        """The seeds under which something has finished, ascending."""
        return sorted({seed for _, seed in self.found})

    def children(self, variant: str) -> list[ChildResult]:
        """The variant's children that have finished, by seed."""
        return [child for (name, _), child in sorted(self.found.items()) if name == variant]

    def value(self, variant: str, seed: int, metric: str) -> float:
        """The metric of one child, nan where it has not finished or has none."""
        result = self.found.get((variant, seed))
        return math.nan if result is None else result.metrics.get(metric, math.nan)

    def of(self, variant: str, metric: str) -> Estimate | None:
        """The metric of a variant over its seeds, None where no child of it has finished."""
        return estimate([self.value(variant, seed, metric) for seed in self.seeds])

    def change(self, variant: str, base: str, metric: str) -> Estimate | None:
        """How far the metric of a variant is from that of `base`, over the seeds of both."""
        return estimate(
            [
                self.value(variant, seed, metric) - self.value(base, seed, metric)
                for seed in self.seeds
            ]
        )

    def tag(self, variant: str, name: str) -> str:
        """What the variant's children say in a tag, each word once; "" where none has finished."""
        said = [child.tags.get(name, "") for child in self.children(variant)]
        return ", ".join(dict.fromkeys(filter(None, said)))

    def run_ids(self, variant: str) -> tuple[str, ...]:
        """The tracked runs of a variant, by seed."""
        return tuple(child.run_id for child in self.children(variant))


class UsualReport:
    """A table with a row per figure and variant, bars of some figures, and differences in words.

    A study that tells something else overrides a method, in a file of `experiments/studies`.
    """

    def report(self, study: Study, results: Results) -> Report:
        """Tables, charts and answers from what has finished so far."""
        return Report(
            tuple(self.tables(study, results)),
            self.charts(study, results),
            tuple(self.answers(study, results)),
        )

    def tables(self, study: Study, results: Results) -> Sequence[PaperTable]:
        """The usual table."""
        return [usual_table(study, self.rows(study, results))]

    def rows(self, study: Study, results: Results) -> Sequence[Row]:
        """A row per figure and variant, the paper's beside it where settings agree, else below."""
        found = [
            row
            for figure in study.metrics
            for name, labels in study.labels.items()
            for row in measured(study, results, name, figure).beside(
                paper_figure(study.paper, labels, figure)
            )
        ]
        return [*found, *papers_alone(study)]

    def charts(self, study: Study, results: Results) -> "dict[str, Figure]":
        """Bars or lines of each figure that the study draws."""
        return {figure: chart(study, results, figure) for figure in study.charts}

    def answers(self, study: Study, results: Results) -> Sequence[str]:
        """The study's differences, and which variant is the best."""
        said = [line for one in study.differences for line in difference_lines(one, study, results)]
        return [*said, *(best_lines(study.best, study, results) if study.best else [])]


def usual_table(study: Study, rows: Sequence[Row]) -> PaperTable:
    """These rows as the study's table."""
    title, name = filled(study.title or study.name, study.values), study.table or study.name
    return PaperTable(name, title, tuple(study.columns), tuple(rows))


def measured(study: Study, results: Results, variant: str, figure: str) -> Row:
    """The row of one figure of a variant, as far as its children have finished."""
    return Row(
        study.labels[variant],
        figure,
        results.of(variant, study.metric_of(figure)),
        setting=results.tag(variant, "setting"),
        data=results.tag(variant, "dataset"),
        scale=results.tag(variant, "scale"),
        runs=results.run_ids(variant),
    )


def papers_alone(study: Study) -> list[Row]:
    """The paper's figures of what is none of our variants, if the study wants them."""
    ours = list(study.labels.values())
    return [
        Row(row.labels, figure, None, paper)
        for row in (paper_tables()[study.paper] if study.is_whole_paper else ())
        if not any(row.labels.items() <= labels.items() for labels in ours)
        for figure, paper in row.figures.items()
    ]


def chart(study: Study, results: Results, figure: str) -> "Figure":
    """Bars of a figure, or lines where the study's labels are numbers along a line."""
    found = {name: results.of(name, study.metric_of(figure)) for name in study.labels}
    if (drawn := study.curves) is None:
        return bars(found, y=figure)
    lines: dict[str, list[tuple[float, Estimate | None]]] = {}
    for name, labels in study.labels.items():
        x = float(labels[drawn.over])
        # A logarithmic axis has no 0.
        point = (max(x, 1) if drawn.is_logarithmic else x, found[name])
        lines.setdefault(labels[drawn.line], []).append(point)
    x_words = drawn.words or drawn.over
    return curves(lines, x=x_words, y=figure, logarithmic=drawn.is_logarithmic)


def difference_lines(one: Difference, study: Study, results: Results) -> list[str]:
    """A line for each metric that both variants have."""
    said = []
    for metric in one.metrics:
        of, to = (results.of(name, study.metric_of(metric)) for name in (one.of, one.to))
        change = results.change(one.of, one.to, study.metric_of(metric))
        if of and to and change:
            words = {"of": one.of, "to": one.to, "metric": metric, "change": change.in_words()}
            said.append(one.words.format(**words, of_mean=of.mean, to_mean=to.mean))
    return said


def best_lines(one: Best, study: Study, results: Results) -> list[str]:
    """The line about the variant that is the highest; none where nothing has finished."""
    metric = study.metric_of(one.figure)
    found = {name: known for name in study.labels if (known := results.of(name, metric))}
    if not found:
        return []
    best = max(found, key=lambda name: found[name].mean)
    rivals = []
    for name in found:
        gain = results.change(best, name, metric)
        if name != best and not (gain and gain.excludes_zero):
            rivals.append(study.labels[name][study.columns[-1]])
    words = {"name": best, "labels": study.labels[best], "rivals": ", ".join(rivals) or "none"}
    return [one.words.format(metric=one.figure, mean=found[best].mean, **words)]
