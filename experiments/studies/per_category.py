"""Table 5: one net per category of a set, each on a budget of pictures, and their average."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from experiments.comparing.charts import bars
from experiments.comparing.estimates import estimate
from experiments.comparing.paper_figures import ACCURACY, CATEGORIES, F1, IOU
from experiments.comparing.paper_tables import PaperTable, Report, Row, rows_of
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import MANIFEST, METRICS, measured

BUDGET = "data.init_args.image_budget"
FIGURES = (ACCURACY, F1, IOU)
AVERAGE, PAPERS_AVERAGE = "average", "average of ten"
PAPERS_CATEGORIES = 10


class PerCategory(Study):
    """A training per category, on `budget` pictures of it, defects first (NOTES 19).

    categories: manifests by name; the paper's are the ten of MVTec AD, and only an average over
    ten of that set stands beside the paper's.
    """

    def __init__(self, categories: dict[str, str], budget: int = 200) -> None:
        if AVERAGE in categories:
            raise ValueError(f"categories names {AVERAGE!r}, which is the last row: rename it")
        self.categories: Mapping[str, str] = categories
        self.budget = budget

    def variants(self) -> Sequence[Variant]:
        """A run for each category."""
        setting = f"budget_{self.budget}"
        return [
            Variant(name, {MANIFEST: file, BUDGET: self.budget, "setting": setting})
            for name, file in self.categories.items()
        ]

    def report(self, results: Results) -> Report:
        """A row per figure and category, then their average; the paper's word beside or below."""
        rows: list[Row] = []
        for figure in FIGURES:
            found = [
                measured(results, name, {"category": name}, figure) for name in self.categories
            ]
            for row in found:
                rows += rows_of(row, CATEGORIES.get(row.labels["category"], {}).get(figure))
            average, paper = self.average(results, figure, found), CATEGORIES[AVERAGE][figure]
            if len(found) == PAPERS_CATEGORIES:
                rows += rows_of(average, paper)
            else:
                rows += [average, Row({"category": PAPERS_AVERAGE}, figure, None, paper)]
        table = PaperTable("table_5", "Table 5: by category", ("category",), tuple(rows))
        charts = {
            figure: bars(
                {name: results.of(name, METRICS[figure]) for name in self.categories}, y=figure
            )
            for figure in FIGURES
        }
        return Report((table,), charts)

    def average(self, results: Results, figure: str, found: Sequence[Row]) -> Row:
        """The mean over all categories of each seed under which all have finished."""
        means = {seed: self.mean(results, figure, seed) for seed in results.seeds}
        whole = [seed for seed, mean in means.items() if not math.isnan(mean)]
        return replace(
            found[0],
            labels={"category": AVERAGE},
            ours=estimate(list(means.values())),
            data=", ".join(dict.fromkeys(row.data for row in found)) if whole else "",
            runs=tuple(
                results.found[name, seed].run_id for name in self.categories for seed in whole
            ),
        )

    def mean(self, results: Results, figure: str, seed: int) -> float:
        """The mean of one seed; nan where a category has not finished."""
        values = [results.value(name, seed, METRICS[figure]) for name in self.categories]
        return sum(values) / len(values)
