"""Tables 1 and 4: what an answer costs, by the benchmarks' own rows."""

from dataclasses import replace

from experiments.reporting.report import Results, UsualReport, papers_alone
from experiments.reporting.rows import Row

# What a measurement says of how much better ours is than its reference, and the words for it.
RATIOS = {
    "ratio": "ratio",
    "settings/lowest ratio": "lowest ratio",
    "settings/highest ratio": "highest ratio",
    "limit": "limit of the ratio",
}


class InferenceCost(UsualReport):
    """Every measurement of each benchmark in its `unit`, and its ratios to what is beside it."""

    def rows(self, results: Results) -> list[Row]:
        """Ours, then the paper's row of an A100."""
        found = [row for name in results.study.labels for row in measured_by(name, results)]
        return [*found, *papers_alone(results.study)]


def measured_by(name: str, results: Results) -> list[Row]:
    """The rows of one benchmark: of each thing measured our figure, and its ratios."""
    labels = results.study.labels[name]
    benchmark = {"benchmark": labels["benchmark"]}
    paths = {path for run in results.runs(name) for path in run.metrics}
    found = []
    for whole in sorted(path for path in paths if path.endswith("/ours")):
        _, thing, *_ = whole.split("/")  # measurements/THING/ours
        for key, figure in {"ours": labels["unit"], **RATIOS}.items():
            row = results.row(name, f"{whole.removesuffix('ours')}{key}")
            said = {**benchmark, "measured": thing}
            found.append(replace(row, labels=said, figure=figure, setting="benchmark"))
    # Not run yet.
    unknown = replace(results.row(name, "ours"), labels=benchmark, figure=labels["unit"])
    return [row for row in found if row.ours] or [unknown]
