"""Systems, ours and others, under one protocol: one split, one calibration, the same figures."""

from collections.abc import Mapping, Sequence

from experiments.comparing.charts import bars
from experiments.comparing.estimates import estimate, in_words
from experiments.comparing.paper_figures import ACCURACY, IOU, MILLISECONDS
from experiments.comparing.paper_tables import PaperTable, Report
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import METRICS, rows

FIGURES = (ACCURACY, IOU, "iou_dataset", "pixel_ap", "aupro", "box_map_50", MILLISECONDS)


class Systems(Study):
    """Each system trained, calibrated on the validation pictures and tested on the same split.

    systems: of each name the configs that make its run, of one stage or of two; a system that is
    not ours is a `SegmentationModule` of its own (`lightning_modules/baselines`). The data, and so
    the split, are the study's settings. Raises ValueError for fewer than two.
    """

    def __init__(self, systems: dict[str, list[str]]) -> None:
        if len(systems) < 2:
            raise ValueError(f"systems has {len(systems)} entries: expected two or more to compare")
        self.systems: Mapping[str, list[str]] = systems

    def variants(self) -> Sequence[Variant]:
        """A run for each system."""
        return [Variant(name, configs=tuple(configs)) for name, configs in self.systems.items()]

    def report(self, results: Results) -> Report:
        """The table by system, and how far each pair is apart over the same seeds."""
        labels = {name: {"system": name} for name in self.systems}
        table = PaperTable("systems", "Systems", ("system",), rows(results, labels, FIGURES))
        charts = {
            figure: bars({name: results.of(name, METRICS[figure]) for name in labels}, y=figure)
            for figure in (IOU, ACCURACY)
        }
        return Report((table,), charts, tuple(self.answers(results)))

    def answers(self, results: Results) -> list[str]:
        """IoU of each system against each that stands above it in the table."""
        names = list(self.systems)
        return [
            f"{name} instead of {above}: {IOU} {in_words(change)}"
            for place, name in enumerate(names)
            for above in names[:place]
            if (change := estimate(results.differences(name, above, METRICS[IOU])))
        ]
