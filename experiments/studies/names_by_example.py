"""Names by K examples: what `try_examples` left of each set, by kind of region and K."""

from dataclasses import replace

from experiments.reporting.report import Results, UsualReport
from experiments.reporting.rows import Row


class NamesByExample(UsualReport):
    """A row for each figure of a set's regions, as they are marked and as a run finds them."""

    def rows(self, results: Results) -> list[Row]:
        """By set, kind of region, K and figure."""
        study, rows = results.study, list[Row]()
        for name in (name for name in study.labels if study.variants[name].results):
            paths = sorted({path for run in results.runs(name) for path in run.metrics})
            found = [path.split("/") for path in paths if path.count("/") == 2]
            for kind, count, figure in found:
                row = results.row(name, f"{kind}/{count}/{figure}")
                labels = {**row.labels, "regions": kind, "K": count.removeprefix("k")}
                rows.append(replace(row, labels=labels, figure=figure))
            rows += [] if found else [results.row(name, "both")]
        return rows
