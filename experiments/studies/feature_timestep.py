"""Table 1: at which noise level a frozen U-Net's features tell most, and what each level costs."""

from collections.abc import Mapping, Sequence

from experiments.comparing.charts import curves
from experiments.comparing.estimates import estimate, is_parted
from experiments.comparing.paper_figures import ACCURACY, IOU, MILLISECONDS, TIMESTEPS
from experiments.comparing.paper_tables import PaperTable, Report
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import METRICS, STAGE1, finetune_on, rows

SINGLE, SEQUENTIAL = "single", "sequential"


class FeatureTimestep(Study):
    """Stage 2 on features at each t, noised at once (`single`) or step by step (`sequential`).

    timesteps: of the single passes; sequential_timesteps: of the inversions, which take t passes
    for each picture. pretrained: a stage 1 that is there already, "" to train one under each seed.
    """

    def __init__(
        self,
        timesteps: tuple[int, ...] = (10, 30, 50, 70, 100),
        sequential_timesteps: tuple[int, ...] = (10, 30, 50, 70, 100),
        pretrained: str = "",
    ) -> None:
        self.pretrained = pretrained
        self.timesteps: Mapping[str, tuple[int, ...]] = {
            SINGLE: timesteps,
            SEQUENTIAL: sequential_timesteps,
        }

    @property
    def points(self) -> list[tuple[str, int]]:
        """What is run, as mode and t."""
        return [(mode, t) for mode, timesteps in self.timesteps.items() for t in timesteps]

    def variants(self) -> Sequence[Variant]:
        """Stage 1 unless one is named, then stage 2 for each mode and t."""
        return [*([] if self.pretrained else [STAGE1]), *map(self.variant, self.points)]

    def variant(self, point: tuple[str, int]) -> Variant:
        """Stage 2 on the features of one mode and t."""
        mode, t = point
        settings = {"model.init_args.feature_timestep": t, "model.init_args.feature_mode": mode}
        return finetune_on(name_of(mode, t), settings, self.pretrained)

    def report(self, results: Results) -> Report:
        """The table by mode and t, its curves, and whether a best t can be told."""
        # The paper's times grow with t as only passes one after the other do (NOTES 12).
        paper = {name_of(SEQUENTIAL, t): figures for t, figures in TIMESTEPS.items()}
        told = [(SEQUENTIAL, t) for t in TIMESTEPS if t not in self.timesteps[SEQUENTIAL]]
        labels = {
            name_of(mode, t): {"mode": mode, "t": str(t)} for mode, t in [*self.points, *told]
        }
        figures = (IOU, ACCURACY, MILLISECONDS)
        table = PaperTable(
            "table_1",
            "Table 1: feature timestep",
            ("mode", "t"),
            rows(results, labels, figures, paper),
        )
        charts = {
            figure: curves(
                {
                    mode: [(t, results.of(name_of(mode, t), METRICS[figure])) for t in timesteps]
                    for mode, timesteps in self.timesteps.items()
                    if timesteps
                },
                x="t",
                y=figure,
            )
            for figure in figures
        }
        return Report((table,), charts, tuple(self.answers(results)))

    def answers(self, results: Results) -> list[str]:
        """Whether one t stands out from the others, by mode."""
        said = []
        for mode, timesteps in self.timesteps.items():
            found = {
                t: known for t in timesteps if (known := results.of(name_of(mode, t), METRICS[IOU]))
            }
            if len(found) < 2:
                continue
            best = max(found, key=lambda t: found[t].mean)
            rivals = [t for t in found if t != best and not self.is_above(results, mode, best, t)]
            said.append(
                f"{mode}: {IOU} is highest at t = {best} ({found[best].mean:.3f}); "
                + (
                    f"over the same seeds it is not parted from t = {', '.join(map(str, rivals))}"
                    if rivals
                    else "over the same seeds it is above all others"
                )
            )
        return said

    def is_above(self, results: Results, mode: str, t: int, other: int) -> bool:
        """Whether IoU at t is above that at another, over the same seeds."""
        gains = results.differences(name_of(mode, t), name_of(mode, other), METRICS[IOU])
        return is_parted(estimate(gains))


def name_of(mode: str, t: int) -> str:
    """The variant of a mode and a timestep."""
    return f"{mode}_t{t}"
