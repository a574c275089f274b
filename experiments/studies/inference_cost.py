"""Tables 1 and 4: what an answer costs, by the benchmarks' own rows."""

from collections.abc import Sequence

from experiments.comparing.paper_figures import COST
from experiments.comparing.paper_tables import PaperTable, Report, Row
from experiments.comparing.study_plan import Results, Study, Variant

BENCHMARKS = (
    "inference_flops",
    "inference_features",
    "inference_timestep",
    "inference_memory",
    "inference_throughput",
    "inference_gpu",
)
OURS, RATIO = "ours", "ratio"


class InferenceCost(Study):
    """Each benchmark of inference as a child; what it measures, beside what, is in its rows."""

    def __init__(self, benchmarks: tuple[str, ...] = BENCHMARKS, repeats: int = 7) -> None:
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
        """Every row's figure and its ratio to the reference beside it, and the paper's Table 4."""
        found = tuple(
            Row(
                {"benchmark": name, "measured": metric.split("/")[1]},
                metric.rpartition("/")[2],
                results.of(name, metric),
                setting="benchmark",
                runs=tuple(results.run_ids(name)),
            )
            for name in self.benchmarks
            for metric in results.metrics(name)
            if metric.startswith("measurements/") and metric.endswith((OURS, RATIO))
        )
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
