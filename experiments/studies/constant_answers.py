"""The floor under every table: how often an answer is right that looks at no picture."""

from collections.abc import Sequence

from experiments.comparing.charts import bars
from experiments.comparing.paper_figures import ACCURACY
from experiments.comparing.paper_tables import PaperTable, Report
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import METRICS, rows


class ConstantAnswers(Study):
    """One variant per constant answer; nothing is trained."""

    def __init__(self, answers: tuple[str, ...] = ("good",)) -> None:
        self.answers = answers

    def variants(self) -> Sequence[Variant]:
        """A run for each answer."""
        return [
            Variant(name.replace(" ", "_"), {"model.init_args.type_name": name})
            for name in self.answers
        ]

    def report(self, results: Results) -> Report:
        """How often each answer was right, and which is the one to beat."""
        labels = {name.replace(" ", "_"): {"answer": name} for name in self.answers}
        table = PaperTable(
            "constant_answers",
            "Answers that look at no picture",
            ("answer",),
            rows(results, labels, (ACCURACY,)),
        )
        heights = {name: results.of(name, METRICS[ACCURACY]) for name in labels}
        known = {name: found.mean for name, found in heights.items() if found}
        said = []
        if known:
            best = max(known, key=lambda name: known[name])
            said.append(f"to beat: {best}, right for {known[best]:.3f} of the pictures")
        return Report((table,), {ACCURACY: bars(heights, y=ACCURACY)}, tuple(said))
