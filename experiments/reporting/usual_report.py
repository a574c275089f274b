"""What the children of a study gave, and the usual report of it: a row per figure and variant."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from experiments.reporting.paper_figures import PAPER
from experiments.reporting.paper_tables import Estimate, PaperTable, Report, Row, bars, estimate
from experiments.reporting.plan import Study, filled

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
        labels, papers = self.labels(study), PAPER[study.paper] if study.paper else {}
        found = [
            row
            for figure in study.metrics
            for name, said in labels.items()
            for row in measured(study, results, name, said, figure).beside(
                papers.get(name, {}).get(figure)
            )
        ]
        if study.is_whole_paper:
            found += papers_alone(study, labels)
        return found

    def labels(self, study: Study) -> dict[str, dict[str, str]]:
        """What the table's rows say by column, by variant."""
        return study.labels

    def charts(self, study: Study, results: Results) -> "dict[str, Figure]":
        """Bars of each figure that the study draws."""
        return {
            figure: bars(
                {name: results.of(name, study.metric_of(figure)) for name in study.labels}, y=figure
            )
            for figure in study.charts
        }

    def answers(self, study: Study, results: Results) -> Sequence[str]:
        """The study's differences, and which variant is the highest in its `best`."""
        said = [
            one.words.format(of=one.of, to=one.to, metric=metric, change=change.in_words())
            for one in study.differences
            for metric in one.metrics
            if (change := results.change(one.of, one.to, study.metric_of(metric)))
        ]
        metric = study.metric_of(study.best)
        heights = {name: found.mean for name in study.labels if (found := results.of(name, metric))}
        if study.best and heights:
            name = max(heights, key=lambda name: heights[name])
            said.append(f"to beat: {name}, right for {heights[name]:.3f} of the pictures")
        return said


def usual_table(study: Study, rows: Sequence[Row]) -> PaperTable:
    """These rows as the study's table."""
    title, name = filled(study.title or study.name, study.values), study.table or study.name
    return PaperTable(name, title, tuple(study.columns), tuple(rows))


def measured(
    study: Study, results: Results, variant: str, labels: Mapping[str, str], figure: str
) -> Row:
    """The row of one figure of a variant, as far as its children have finished."""
    return Row(
        labels,
        figure,
        results.of(variant, study.metric_of(figure)),
        setting=results.tag(variant, "setting"),
        data=results.tag(variant, "dataset"),
        scale=results.tag(variant, "scale"),
        runs=results.run_ids(variant),
    )


def papers_alone(study: Study, names: Collection[str]) -> list[Row]:
    """The paper's figures of what is none of these variants."""
    return [
        Row({study.columns[0]: name}, figure, None, paper)
        for name, figures in PAPER[study.paper].items()
        for figure, paper in figures.items()
        if name not in names
    ]
