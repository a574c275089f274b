"""Table 5: one net per category of a set, each on a budget of pictures, and their average."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from experiments.comparing.charts import bars
from experiments.comparing.estimates import Estimate, estimate
from experiments.comparing.paper_figures import ACCURACY, CATEGORIES, F1, IOU
from experiments.comparing.paper_tables import PaperTable, Report, Row, rows_of
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import METRICS, measured

MANIFEST, BUDGET = "data.init_args.manifest", "data.init_args.image_budget"
FIGURES = (ACCURACY, F1, IOU)
AVERAGE = "average"


class PerCategory(Study):
    """A training per category, on `budget` pictures of it, defects first (NOTES 19).

    categories: manifests by name; the paper's are those of MVTec AD. data: what the average is of,
    as the rows say it.
    """

    def __init__(self, categories: dict[str, str], budget: int = 200, data: str = "") -> None:
        if AVERAGE in categories:
            raise ValueError(f"categories names {AVERAGE!r}, which is the last row: rename it")
        self.categories: Mapping[str, str] = categories
        self.budget, self.data = budget, data

    def variants(self) -> Sequence[Variant]:
        """A run for each category."""
        setting = f"k_shot_{self.budget}"
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
            for row in (*found, self.average(results, figure, found)):
                name = row.labels["category"]
                rows += rows_of(row, CATEGORIES.get(name, {}).get(figure))
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
        means = [self.mean(results, figure, seed) for seed in results.seeds]
        ours: Estimate | None = estimate(means)
        return replace(
            found[0],
            labels={"category": AVERAGE},
            ours=ours,
            data=self.data if ours else "",
            runs=tuple(run for row in found for run in row.runs) if ours else (),
        )

    def mean(self, results: Results, figure: str, seed: int) -> float:
        """The mean of one seed; nan where a category has not finished."""
        values = [results.value(name, seed, METRICS[figure]) for name in self.categories]
        return sum(values) / len(values)
