"""Section 6.2: stage 1 from random weights against stage 1 from weights that are named."""

from collections.abc import Sequence

from experiments.comparing.charts import bars
from experiments.comparing.estimates import estimate, in_words
from experiments.comparing.paper_figures import ACCURACY, INITIALISATION, IOU
from experiments.comparing.paper_tables import PaperTable, Report, Row
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import METRICS, finetune, rows

RANDOM, UNTRAINED = "random", "untrained"
INIT = "pretrain.model.init_args.diffusion.init_args.denoiser.init_args.init"


class Initialisation(Study):
    """Stage 2 on a stage 1 that began at random, on one from each of `weights`, and on none.

    weights: hub names or folders whose `unet` the U-Net begins with, by what they are called in the
    table; the paper's own is `stable_diffusion`. Raises ValueError for a name that is taken.
    """

    def __init__(self, weights: dict[str, str] | None = None) -> None:
        named = weights or {}
        if taken := named.keys() & {RANDOM, UNTRAINED}:
            raise ValueError(f"weights names {min(taken)!r}, which is always there: rename it")
        # The starts of stage 1, by the name of their variant.
        self.starts = {RANDOM: RANDOM, **named}

    def variants(self) -> Sequence[Variant]:
        """A stage 1 and a stage 2 for each start, and a stage 2 on an untrained U-Net."""
        chosen: list[Variant] = []
        for name, start in self.starts.items():
            stage1 = Variant(
                f"stage1_{name}", {INIT: start}, flags=("--only", "pretrain"), is_stage1=True
            )
            chosen += [stage1, finetune(name, {}, stage1=stage1.name)]
        return [*chosen, finetune(UNTRAINED, {"model.init_args.pretrained": "random"}, stage1="")]

    def report(self, results: Results) -> Report:
        """The table by start, the paper's among them."""
        column = "start of stage 1"
        names = [*self.starts, UNTRAINED]
        labels = {name: {column: name} for name in names}
        paper = {name: {IOU: figure} for name, figure in INITIALISATION.items()}
        papers_alone = tuple(
            Row({column: name}, IOU, None, figure)
            for name, figure in INITIALISATION.items()
            if name not in names
        )
        table = PaperTable(
            "section_6_2",
            "Section 6.2: the start of stage 1",
            (column,),
            (*rows(results, labels, (IOU, ACCURACY), paper), *papers_alone),
        )
        chart = bars({name: results.of(name, METRICS[IOU]) for name in names}, y=IOU)
        changes = {
            name: estimate(results.differences(name, UNTRAINED, METRICS[IOU]))
            for name in self.starts
        }
        answers = [
            f"a stage 1 from {name} instead of none: {IOU} {in_words(change)}"
            for name, change in changes.items()
            if change
        ]
        return Report((table,), {IOU: chart}, tuple(answers))
