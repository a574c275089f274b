"""Table 5: one net per category of a set, each on a budget of images, and their average."""

import math
from collections.abc import Sequence
from dataclasses import replace

from experiments.reporting.paper_figures import paper_figure
from experiments.reporting.paper_tables import Row, estimate
from experiments.reporting.plan import Study
from experiments.reporting.usual_report import Results, UsualReport, measured

AVERAGE, PAPERS_AVERAGE = {"category": "average"}, {"category": "average of ten"}
PAPERS_CATEGORIES = 10


class PerCategory(UsualReport):
    """The usual table and its average; only one over ten categories stands beside the paper's."""

    def rows(self, study: Study, results: Results) -> Sequence[Row]:
        """A row per figure and category, then their average; the paper's word beside or below."""
        rows: list[Row] = []
        for figure in study.metrics:
            found = [measured(study, results, name, figure) for name in study.labels]
            for row in found:
                rows += row.beside(paper_figure(study.paper, row.labels, figure))
            average = self.average(study, results, found)
            paper = paper_figure(study.paper, AVERAGE, figure)
            if len(found) == PAPERS_CATEGORIES:
                rows += average.beside(paper)
            else:
                rows += [average, Row(PAPERS_AVERAGE, figure, None, paper)]
        return rows

    def average(self, study: Study, results: Results, found: Sequence[Row]) -> Row:
        """The mean over all categories of each seed under which all have finished."""
        metric, names = study.metric_of(found[0].figure), list(study.labels)
        means = {
            seed: sum(results.value(name, seed, metric) for name in names) / len(names)
            for seed in results.seeds
        }
        whole = [seed for seed, mean in means.items() if not math.isnan(mean)]
        return replace(
            found[0],
            labels=AVERAGE,
            ours=estimate(list(means.values())),
            data=", ".join(dict.fromkeys(row.data for row in found)) if whole else "",
            runs=tuple(results.found[name, seed].run_id for name in names for seed in whole),
        )
