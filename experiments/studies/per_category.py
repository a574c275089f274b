"""Table 5: one net per category of a set, each on a budget of images, and their average."""

from dataclasses import replace

from experiments.reporting.report import Results, UsualReport
from experiments.reporting.rows import Row, estimate, paper_figure

AVERAGE, PAPERS_AVERAGE = {"category": "average"}, {"category": "average of ten"}
PAPERS_CATEGORIES = 10


class PerCategory(UsualReport):
    """The usual table and its average; only one over ten categories stands beside the paper's."""

    def rows(self, results: Results) -> list[Row]:
        """A row per figure and category, then their average; the paper's word beside or below."""
        rows, study = list[Row](), results.study
        for figure in study.metrics:
            found = [results.row(name, figure) for name in study.labels]
            for row in found:
                rows += row.beside(paper_figure(study.paper, row.labels, figure))
            average = self.average(results, found)
            paper = paper_figure(study.paper, AVERAGE, figure)
            if len(found) == PAPERS_CATEGORIES:
                rows += average.beside(paper)
            else:
                rows += [average, Row(PAPERS_AVERAGE, figure, paper=paper)]
        return rows

    def average(self, results: Results, found: list[Row]) -> Row:
        """The mean over all categories of each seed under which all have an answer."""
        names, figure = list(results.study.labels), found[0].figure
        means = {
            seed: sum(results.value(name, seed, figure) for name in names) / len(names)
            for seed in results.seeds
        }
        whole = [seed for seed in means if all((name, seed) in results.found for name in names)]
        return replace(
            found[0],
            labels=AVERAGE,
            ours=estimate(list(means.values())),
            data=", ".join(dict.fromkeys(row.data for row in found)) if whole else "",
            runs=tuple(results.found[name, seed].run_id for name in names for seed in whole),
        )
