"""Tables 1 and 4: what an answer costs, by the benchmarks' own rows."""

from collections.abc import Sequence

from experiments.comparing.paper_figures import COST
from experiments.comparing.paper_tables import PaperTable, Report, Row
from experiments.comparing.study_plan import Results, Study, Variant

# The benchmarks of inference, and the unit of what each measures.
BENCHMARKS = {
    "inference_flops": "TF/image",
    "inference_features": "images/s",
    "inference_timestep": "ms/image",
    "inference_memory": "GB",
    "inference_throughput": "crops/s",
    "inference_gpu": "ms/image",
}
MEASUREMENTS = "measurements"
# What a measurement says of how much better ours is than its reference, and the words for it.
RATIOS = {
    "ratio": "ratio",
    "settings/lowest ratio": "lowest ratio",
    "settings/highest ratio": "highest ratio",
    "limit": "limit of the ratio",
}


class InferenceCost(Study):
    """Each benchmark of inference as a child; what it measures, beside what, is in its rows."""

    def __init__(self, benchmarks: tuple[str, ...] = tuple(BENCHMARKS), repeats: int = 7) -> None:
        if unknown := set(benchmarks) - BENCHMARKS.keys():
            raise ValueError(
                f"benchmarks names {min(unknown)!r}: expected some of {', '.join(BENCHMARKS)}"
            )
        self.benchmarks, self.repeats = benchmarks, repeats

    def variants(self) -> Sequence[Variant]:
        """A child for each benchmark, so that what was interrupted costs no other again."""
        return [
            Variant(
                name,
                flags=(name, "--repeats", str(self.repeats), "--out", "{here}/rows.json"),
                module="experiments.bench",
                results="rows.json",
            )
            for name in self.benchmarks
        ]

    def report(self, results: Results) -> Report:
        """Every measurement, its ratio to the reference beside it, and that ratio's limit."""
        found = tuple(row for name in self.benchmarks for row in measured_by(name, results))
        papers = tuple(
            Row({"benchmark": "A100", "measured": "one image"}, figure, None, paper)
            for figure, paper in COST.items()
        )
        table = PaperTable(
            "inference_cost",
            "Tables 1 and 4: the cost of an answer",
            ("benchmark", "measured"),
            (*found, *papers),
        )
        return Report((table,))


def measured_by(name: str, results: Results) -> list[Row]:
    """The rows of one benchmark: of each thing measured our figure, and its ratios."""
    figures = {"ours": BENCHMARKS[name], **RATIOS}
    things = {
        metric.split("/")[1]: metric.removesuffix("/ours")
        for metric in results.metrics(name)
        if metric.startswith(f"{MEASUREMENTS}/") and metric.endswith("/ours")
    }
    found = [
        Row(
            {"benchmark": name, "measured": thing},
            figure,
            ours,
            setting="benchmark",
            runs=tuple(results.run_ids(name)),
        )
        for thing, path in things.items()
        for key, figure in figures.items()
        if (ours := results.of(name, f"{path}/{key}"))
    ]
    # Not run yet, or without what it needs: a GPU.
    missing = Row({"benchmark": name}, figures["ours"], None, runs=tuple(results.run_ids(name)))
    return found or [missing]
