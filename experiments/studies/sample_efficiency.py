"""Table 7: how many images per type a wanted accuracy takes, by what the nets knew before."""

import math
from collections.abc import Sequence

from experiments.comparing.charts import curves
from experiments.comparing.estimates import Estimate, estimate, first_reaching, in_words
from experiments.comparing.paper_figures import ACCURACY, IOU, SAMPLES_FOR_95
from experiments.comparing.paper_tables import (
    NOT_REACHED,
    NOT_RUN,
    PaperTable,
    Report,
    Row,
    rows_of,
)
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import METRICS, SHOTS, SHOTS_SEED, STAGE1, finetune_on, rows

RANDOM, IMAGENET, OURS = "random", "imagenet", "ours"
ENCODER_WEIGHTS = "model.init_args.encoder_weights"


class SampleEfficiency(Study):
    """K-shot curves of one hybrid net: nothing known, an ImageNet encoder, or our stage 1.

    imagenet_weights: a file for the base's encoder, "" leaves these rows out. target: the accuracy
    that the samples are counted for. pretrained: a stage 1 that is there already, "" to train
    one under each seed.
    """

    def __init__(
        self,
        shots: tuple[int, ...] = (5, 25, 100),
        imagenet_weights: str = "",
        target: float = 0.95,
        pretrained: str = "",
    ) -> None:
        self.shots, self.target = tuple(sorted(shots)), target
        self.imagenet_weights, self.pretrained = imagenet_weights, pretrained

    @property
    def starts(self) -> list[str]:
        """What the nets may know."""
        return [RANDOM, *([IMAGENET] if self.imagenet_weights else []), OURS]

    def variants(self) -> Sequence[Variant]:
        """Stage 1 unless one is named, and stage 2 for each start and K."""
        few = [self.variant(start, k) for k in self.shots for start in self.starts]
        return few if self.pretrained else [STAGE1, *few]

    def variant(self, start: str, k: int) -> Variant:
        """Stage 2 on K images per type, which are others under each seed."""
        settings: dict[str, object] = {SHOTS: k, SHOTS_SEED: "{seed}", "setting": f"k_shot_{k}"}
        if start == IMAGENET:
            settings[ENCODER_WEIGHTS] = self.imagenet_weights
        known = self.pretrained if start == OURS else RANDOM
        return finetune_on(name_of(start, k), settings, known)

    def report(self, results: Results) -> Report:
        """Samples for the target by start, the curves they are read from, and what is gained."""
        labels = {
            name_of(start, k): {"pre-training": start, "K": str(k)}
            for start in self.starts
            for k in self.shots
        }
        tables = (
            PaperTable(
                "table_7",
                f"Table 7: images per type for an accuracy of {self.target}",
                ("pre-training",),
                tuple(row for start in self.starts for row in self.samples(results, start)),
            ),
            PaperTable(
                "k_shot",
                "K images per type",
                ("pre-training", "K"),
                rows(results, labels, (ACCURACY, IOU)),
            ),
        )
        charts = {
            figure: curves(
                {start: self.curve(results, start, METRICS[figure]) for start in self.starts},
                x="images per type",
                y=figure,
                logarithmic=True,
            )
            for figure in (ACCURACY, IOU)
        }
        return Report(tables, charts, tuple(self.answers(results)))

    def curve(
        self, results: Results, start: str, metric: str
    ) -> list[tuple[float, Estimate | None]]:
        """The figure over K."""
        return [(k, results.of(name_of(start, k), metric)) for k in self.shots]

    def samples(self, results: Results, start: str) -> tuple[Row, ...]:
        """The samples for the target, by each seed's own whole curve; the paper's word for them."""
        accuracies = [
            [results.value(name_of(start, k), seed, METRICS[ACCURACY]) for k in self.shots]
            for seed in results.seeds
        ]
        whole = [curve for curve in accuracies if not any(map(math.isnan, curve))]
        counts = [first_reaching(self.shots, curve, self.target) for curve in whole]
        reached = [count for count in counts if count is not None]
        outcome = NOT_REACHED if whole else NOT_RUN
        if 0 < len(reached) < len(whole):
            outcome = f"{NOT_REACHED} by {len(whole) - len(reached)} of {len(whole)} seeds"
        is_reached = bool(whole) and len(reached) == len(whole)
        first = name_of(start, self.shots[0])
        row = Row(
            {"pre-training": start},
            "samples",
            estimate(reached) if is_reached else None,
            setting="k_shot" if whole else "",
            data=results.tag(first, "dataset"),
            scale=results.tag(first, "scale"),
            runs=tuple(run for k in self.shots for run in results.run_ids(name_of(start, k))),
            outcome="" if is_reached else outcome,
        )
        return rows_of(row, SAMPLES_FOR_95[start] if self.target == 0.95 else None)

    def answers(self, results: Results) -> list[str]:
        """What each pre-training adds at each K, over the same seeds."""
        said = []
        for start in self.starts[1:]:
            for k in self.shots:
                gains = results.differences(name_of(start, k), name_of(RANDOM, k), METRICS[IOU])
                gain = estimate(gains)
                if gain:
                    said.append(f"K = {k}: {start} instead of {RANDOM}: {IOU} {in_words(gain)}")
        return said


def name_of(start: str, k: int) -> str:
    """The variant of a start and K."""
    return f"{start}_k{k}"
