"""Does training on generated defects help? K real pictures per type, and painted ones beside."""

from collections.abc import Sequence
from dataclasses import replace

from experiments.comparing.charts import bars
from experiments.comparing.estimates import estimate, in_words
from experiments.comparing.paper_figures import ACCURACY, IOU
from experiments.comparing.paper_tables import PaperTable, Report
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import (
    MANIFEST,
    METRICS,
    PRETRAINED,
    SHOTS,
    SHOTS_SEED,
    STAGE1,
    finetune,
    rows,
)

REAL, BOTH, ALL_REAL = "real", "real_and_generated", "all_real"
REAL_SET, BOTH_SETS = "real_set", "both_sets"
RANDOM = {PRETRAINED: "random"}
FIGURES = (IOU, ACCURACY, "pixel_ap")


class GeneratedAugmentation(Study):
    """Stage 2 on K real pictures per type, on them and painted ones, and on all real ones.

    Stage 1 learns from the same K pictures, then paints the defect of each of `prompts` into the
    K good ones, `count` times: K x prompts x count pictures. manifest: of the real set, with good
    pictures; root: a folder above its pictures and our output, under which both sets are merged, so
    that pictures and types have the same names in them and the same K are drawn. Every stage 2 sees
    as many crops; with painted pictures more of them show a defect.
    """

    def __init__(
        self,
        manifest: str,
        prompts: tuple[str, ...],
        shots: int = 25,
        count: int = 1,
        steps: int = 50,
        root: str = ".",
    ) -> None:
        self.manifest, self.prompts = manifest, prompts
        self.shots, self.count, self.steps, self.root = shots, count, steps, root

    def variants(self) -> Sequence[Variant]:
        """Stage 1 of the few, its pictures, both sets as one, and the stages 2."""
        few: dict[str, object] = {SHOTS: self.shots, SHOTS_SEED: "{seed}"}
        setting = f"k_shot_{self.shots}"
        seen = {f"pretrain.{key}": value for key, value in few.items()}
        real = finetune(REAL, {**RANDOM, **few, "setting": setting}, stage1="")
        both = finetune(BOTH, {**RANDOM, **few, "setting": f"{setting}_generated"}, stage1="")
        return [
            self.merged(REAL_SET, self.manifest),
            learning_from(REAL_SET, replace(STAGE1, settings=seen), "pretrain"),
            self.painted(),
            Variant(
                "generated",
                flags=("--source", "generated", "--root", "{painted}", "--out", "{here}"),
                needs=("painted",),
                module="experiments.prepare",
            ),
            self.merged(BOTH_SETS, f"{self.manifest}, {{generated}}/manifest.parquet", "generated"),
            learning_from(REAL_SET, real, "finetune"),
            learning_from(BOTH_SETS, both, "finetune"),
            learning_from(REAL_SET, finetune(ALL_REAL, RANDOM, stage1=""), "finetune"),
        ]

    def painted(self) -> Variant:
        """The pictures that stage 1 paints."""
        prompts = [word for prompt in self.prompts for word in ("--prompt", prompt)]
        return Variant(
            "painted",
            flags=(
                *("--checkpoint", "{stage1}", "--images", manifest_of(REAL_SET)),
                *("--draw_masks", *prompts),
                *("--max_images", str(self.shots), "--count", str(self.count)),
                *("--steps", str(self.steps), "--seed", "{seed}", "--out", "{here}", "--overwrite"),
            ),
            needs=(REAL_SET, STAGE1.name),
            module="experiments.generate",
        )

    def merged(self, name: str, manifests: str, *needs: str) -> Variant:
        """Manifests as one under the root; what would leak is left out there."""
        return Variant(
            name,
            flags=(
                *("--source", "merged", "--root", self.root, "--out", "{here}"),
                *("--max_alike_fraction", "1"),
                *("--source.init_args.manifests", f"[{manifests}]"),
            ),
            needs=needs,
            module="experiments.prepare",
        )

    def report(self, results: Results) -> Report:
        """The table, and what the painted pictures change over the same seeds."""
        labels = {name: {"training": name} for name in (REAL, BOTH, ALL_REAL)}
        table = PaperTable(
            "generated_augmentation",
            f"{self.shots} real pictures per type, with and without generated ones",
            ("training",),
            rows(results, labels, FIGURES),
        )
        charts = {
            figure: bars({name: results.of(name, METRICS[figure]) for name in labels}, y=figure)
            for figure in FIGURES
        }
        changes = {
            figure: estimate(results.differences(BOTH, REAL, METRICS[figure])) for figure in FIGURES
        }
        answers = [
            f"generated pictures change {figure} by {in_words(change)}"
            for figure, change in changes.items()
            if change
        ]
        return Report((table,), charts, tuple(answers))


def manifest_of(name: str) -> str:
    """The manifest that the child `name` has prepared."""
    return f"{{{name}}}/manifest.parquet"


def learning_from(name: str, variant: Variant, stage: str) -> Variant:
    """The variant on the set that the child `name` has prepared."""
    flags = (*variant.flags, f"--{stage}.{MANIFEST}", manifest_of(name))
    return replace(variant, flags=flags, needs=(*variant.needs, name))
