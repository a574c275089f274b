"""What the children of a study gave, and the usual report of it: a row per figure and variant."""

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from experiments.reporting.plan import Difference, Study, filled
from experiments.reporting.rows import (
    Estimate,
    PaperTable,
    Row,
    estimate,
    paper_figure,
    paper_tables,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from experiments.tracking import RunRow

SIZE_IN = (6.0, 3.6)  # of a chart


@dataclass(frozen=True, slots=True)
class Results:
    """The tracked runs of a study's children that have finished, by (variant, seed).

    A figure is the study's name of a metric, or the metric itself.
    """

    study: Study
    found: "Mapping[tuple[str, int], RunRow]"

    @property
    def seeds(self) -> list[int]:
        """The seeds under which something has finished, ascending."""
        return sorted({seed for _, seed in self.found})

    def runs(self, variant: str) -> "list[RunRow]":
        """The variant's runs, by seed."""
        return [self.found[variant, seed] for seed in self.seeds if (variant, seed) in self.found]

    def value(self, variant: str, seed: int, figure: str) -> float:
        """The figure of one child, nan where it has not finished or has none."""
        run = self.found.get((variant, seed))
        return run.metrics.get(self.study.metric_of(figure), math.nan) if run else math.nan

    def of(self, variant: str, figure: str) -> Estimate | None:
        """The figure of a variant over its seeds, None where no child of it has finished."""
        return estimate([self.value(variant, seed, figure) for seed in self.seeds])

    def change(self, variant: str, base: str, figure: str) -> Estimate | None:
        """How far the figure of a variant is from that of `base`, over the seeds of both."""
        return estimate(
            [
                self.value(variant, seed, figure) - self.value(base, seed, figure)
                for seed in self.seeds
            ]
        )

    def tag(self, variant: str, name: str) -> str:
        """What the variant's runs say in a tag, each word once; "" where none has finished."""
        said = [run.tags.get(name, "") for run in self.runs(variant)]
        return ", ".join(dict.fromkeys(filter(None, said)))

    def row(self, variant: str, figure: str) -> Row:
        """The row of one figure of a variant, as far as its children have finished."""
        return Row(
            self.study.labels[variant],
            figure,
            self.of(variant, figure),
            setting=self.tag(variant, "setting"),
            data=self.tag(variant, "dataset"),
            scale=self.tag(variant, "scale"),
            runs=tuple(run.run_id for run in self.runs(variant)),
            outcome="" if self.runs(variant) else self.study.variants[variant].lacks,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What a study says: tables, charts by name, and answers in sentences."""

    tables: Sequence[PaperTable]
    charts: "Mapping[str, Figure]" = field(default_factory=dict)
    answers: Sequence[str] = ()


class UsualReport:
    """A table with a row per figure and variant, bars of some figures, and differences in words.

    A study that tells something else overrides a method, in a file of `experiments/studies`.
    """

    def report(self, results: Results) -> Report:
        """Tables, charts and answers from what has finished so far."""
        return Report(self.tables(results), self.charts(results), self.answers(results))

    def tables(self, results: Results) -> list[PaperTable]:
        """The usual table."""
        return [usual_table(results.study, self.rows(results))]

    def rows(self, results: Results) -> list[Row]:
        """A row per figure and variant, the paper's beside it where settings agree, else below."""
        study, rows = results.study, list[Row]()
        for figure in study.metrics:
            for name, labels in study.labels.items():
                paper = paper_figure(study.paper, labels, figure)
                rows += results.row(name, figure).beside(paper)
        return [*rows, *papers_alone(study)]

    def charts(self, results: Results) -> "dict[str, Figure]":
        """Bars or lines of each figure that the study draws."""
        return {figure.replace("/", "_"): chart(results, figure) for figure in results.study.charts}

    def answers(self, results: Results) -> list[str]:
        """The study's differences, and which variant is the best."""
        study = results.study
        said = [line for one in study.differences for line in difference_lines(one, results)]
        return [*said, *best_lines(results)]


def usual_table(study: Study, rows: Sequence[Row]) -> PaperTable:
    """These rows as the study's table."""
    title, name = filled(study.title or study.name, study.values), study.table or study.name
    return PaperTable(name, title, tuple(study.columns), tuple(rows))


def papers_alone(study: Study) -> list[Row]:
    """The paper's figures of what is none of our variants, if the study wants them."""
    ours = list(study.labels.values())
    return [
        row
        for row in (paper_tables()[study.paper] if study.is_whole_paper else ())
        if not any(row.labels.items() <= labels.items() for labels in ours)
    ]


def difference_lines(one: Difference, results: Results) -> list[str]:
    """A line for each metric that both variants have."""
    said = []
    for metric in one.metrics:
        of, to = results.of(one.of, metric), results.of(one.to, metric)
        change = results.change(one.of, one.to, metric)
        if of and to and change:
            words = {"of": one.of, "to": one.to, "metric": metric, "change": change.in_words()}
            said.append(one.words.format(**words, of_mean=of.mean, to_mean=to.mean))
    return said


def best_lines(results: Results) -> list[str]:
    """The line about the variant that is the highest; none where none is asked or has finished."""
    study, one = results.study, results.study.best
    if one is None:
        return []
    found = {name: known for name in study.labels if (known := results.of(name, one.figure))}
    if not found:
        return []
    best = max(found, key=lambda name: found[name].mean)
    gains = {name: results.change(best, name, one.figure) for name in found if name != best}
    rivals = [
        study.labels[name][study.columns[-1]]
        for name, gain in gains.items()
        if not (gain and gain.excludes_zero)
    ]
    words = {"name": best, "labels": study.labels[best], "rivals": ", ".join(rivals) or "none"}
    return [one.words.format(metric=one.figure, mean=found[best].mean, **words)]


def chart(results: Results, figure: str) -> "Figure":
    """Bars of a figure, or lines with bands where the study's labels are numbers along a line."""
    study, drawn = results.study, results.study.curves
    found = {name: known for name in study.labels if (known := results.of(name, figure))}
    if drawn is None:
        return bars(found, y=figure)
    lines: defaultdict[str, list[str]] = defaultdict(list)
    for name in found:
        lines[study.labels[name][drawn.line]].append(name)
    whole, axes = _empty_chart(figure)
    for line, names in lines.items():
        x = [float(study.labels[name][drawn.over]) for name in names]
        if drawn.is_logarithmic:  # such an axis has no 0
            x = [max(place, 1) for place in x]
        axes.plot(x, [found[name].mean for name in names], marker="o", label=line)
        low, high = zip(*(found[name].ends for name in names), strict=True)
        axes.fill_between(x, low, high, alpha=0.2)
    if drawn.is_logarithmic:
        axes.set_xscale("log")
    axes.set_xlabel(drawn.words or drawn.over)
    axes.grid(alpha=0.3)
    if lines:
        axes.legend()
    return whole


def bars(heights: Mapping[str, Estimate], *, y: str) -> "Figure":
    """A bar per name, with its interval or both values of two seeds as a whisker."""
    figure, axes = _empty_chart(y)
    for name, found in heights.items():
        low, high = found.ends
        reach = [[found.mean - low], [high - found.mean]]
        axes.bar(name, found.mean, yerr=reach, color="C0", capsize=4)
    axes.grid(axis="y", alpha=0.3)
    axes.tick_params(axis="x", rotation=30)
    return figure


def _empty_chart(y: str) -> "tuple[Figure, Axes]":
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE_IN, layout="constrained")
    axes = figure.add_subplot()
    axes.set_ylabel(y)
    return figure, axes
