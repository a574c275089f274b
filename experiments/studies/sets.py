"""The main paper's classification and detection: one net per set, types named, boxes from masks."""

from collections.abc import Mapping, Sequence

from experiments.comparing.charts import bars
from experiments.comparing.paper_tables import PaperTable, Report, Row
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import MANIFEST, SHOTS

FIGURES = {
    "classification": ("type_accuracy", "type_accuracy_balanced", "image_auroc"),
    "detection": ("box_map_50", "box_map_75", "box_map"),
}


class Sets(Study):
    """A training per set; `task` is `classification` or `detection` and says what is reported.

    sets: manifests by name; shots: images per type, None for all.
    """

    def __init__(self, task: str, sets: dict[str, str], shots: int | None = None) -> None:
        if task not in FIGURES:
            raise ValueError(f"task is {task!r}: expected {' or '.join(FIGURES)}")
        self.task, self.shots = task, shots
        self.sets: Mapping[str, str] = sets

    def variants(self) -> Sequence[Variant]:
        """A run for each set."""
        few: dict[str, object] = {}
        if self.shots is not None:
            few = {SHOTS: self.shots, "setting": f"k_shot_{self.shots}"}
        return [Variant(name, {MANIFEST: file, **few}) for name, file in self.sets.items()]

    def report(self, results: Results) -> Report:
        """A row per figure and set."""
        found = tuple(
            Row(
                {"set": name},
                figure,
                results.of(name, f"mask/test/{figure}"),
                setting=results.tag(name, "setting"),
                data=results.tag(name, "dataset"),
                scale=results.tag(name, "scale"),
                runs=tuple(results.run_ids(name)),
            )
            for figure in FIGURES[self.task]
            for name in self.sets
        )
        first = FIGURES[self.task][0]
        chart = bars({name: results.of(name, f"mask/test/{first}") for name in self.sets}, y=first)
        return Report((PaperTable(self.task, self.task, ("set",), found),), {first: chart})
