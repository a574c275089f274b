"""A study of runs that train nothing: which constant answer is right more often."""

from collections.abc import Sequence

from experiments.comparing.paper_tables import PaperTable, Report
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import rows


class ConstantAnswers(Study):
    """One variant per constant answer."""

    def __init__(self, answers: tuple[str, ...]) -> None:
        self.answers = answers

    def variants(self) -> Sequence[Variant]:
        """A run for each answer."""
        return [Variant(name, {"model.init_args.type_name": name}) for name in self.answers]

    def report(self, results: Results) -> Report:
        """How often each answer was right."""
        labels = {name: {"answer": name} for name in self.answers}
        found = rows(results, labels, ["type_accuracy"])
        return Report((PaperTable("answers", "Answers", ("answer",), found),))
