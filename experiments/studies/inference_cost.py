"""Tables 1 and 4: what an answer costs, by the benchmarks' own rows."""

from collections.abc import Sequence

from experiments.reporting.paper_tables import Row
from experiments.reporting.plan import Study
from experiments.reporting.usual_report import Results, UsualReport, papers_alone

MEASUREMENTS = "measurements"
# What a measurement says of how much better ours is than its reference, and the words for it.
RATIOS = {
    "ratio": "ratio",
    "settings/lowest ratio": "lowest ratio",
    "settings/highest ratio": "highest ratio",
    "limit": "limit of the ratio",
}


class InferenceCost(UsualReport):
    """Every measurement of each benchmark in its `unit`, and its ratios to what is beside it."""

    def rows(self, study: Study, results: Results) -> Sequence[Row]:
        """Ours, then the paper's row of an A100."""
        found = [row for name in study.labels for row in measured_by(study, name, results)]
        return [*found, *papers_alone(study)]


def measured_by(study: Study, name: str, results: Results) -> list[Row]:
    """The rows of one benchmark: of each thing measured our figure, and its ratios."""
    labels = study.labels[name]
    benchmark, runs = {"benchmark": labels["benchmark"]}, results.run_ids(name)
    figures = {"ours": labels["unit"], **RATIOS}
    metrics = sorted({key for child in results.children(name) for key in child.metrics})
    things = {
        metric.split("/")[1]: metric.removesuffix("/ours")
        for metric in metrics
        if metric.startswith(f"{MEASUREMENTS}/") and metric.endswith("/ours")
    }
    found = [
        Row({**benchmark, "measured": thing}, figure, ours, setting="benchmark", runs=runs)
        for thing, path in things.items()
        for key, figure in figures.items()
        if (ours := results.of(name, f"{path}/{key}"))
    ]
    # Not run yet.
    return found or [Row(benchmark, labels["unit"], None, runs=runs)]
