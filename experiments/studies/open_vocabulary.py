"""Are types named that training never saw? Some are held out of it, and then asked for."""

from collections.abc import Sequence

from experiments.comparing.charts import bars
from experiments.comparing.paper_figures import ACCURACY
from experiments.comparing.paper_tables import PaperTable, Report
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import METRICS, rows, tested_again

SEEN, HELD_OUT = "seen", "held_out"
TEST_TYPES = "data.init_args.test_types"
FIGURES = (ACCURACY, "type_accuracy_defective", "type_accuracy_balanced", "pixel_auroc")


class OpenVocabulary(Study):
    """A training without the types that the base's data holds out, and tests on both kinds.

    The first test gives all names that training saw, the closed set, on their pictures; the second
    good and the names that it never saw, on theirs. Thresholds are the training's own.
    """

    def variants(self) -> Sequence[Variant]:
        """A training with the closed set's test, and a test of its weights."""
        return [
            Variant(SEEN, {TEST_TYPES: SEEN}),
            tested_again(HELD_OUT, SEEN, {TEST_TYPES: HELD_OUT}),
        ]

    def report(self, results: Results) -> Report:
        """The table by the types that are asked for."""
        labels = {name: {"types": name} for name in (SEEN, HELD_OUT)}
        table = PaperTable(
            "open_vocabulary", "Open vocabulary", ("types",), rows(results, labels, FIGURES)
        )
        chart = bars({name: results.of(name, METRICS[ACCURACY]) for name in labels}, y=ACCURACY)
        return Report((table,), {ACCURACY: chart})
