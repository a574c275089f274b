"""Does training on generated defects help? K real pictures per type, and painted ones beside."""

from collections.abc import Sequence
from dataclasses import replace

from experiments.comparing.charts import bars
from experiments.comparing.estimates import estimate, told
from experiments.comparing.paper_figures import ACCURACY, IOU
from experiments.comparing.paper_tables import PaperTable, Report
from experiments.comparing.study_plan import Results, Study, Variant
from experiments.comparing.variants import METRICS, STAGE1, finetune, rows

REAL, BOTH, ALL_REAL = "real", "real_and_generated", "all_real"
SHOTS, SHOTS_SEED = "data.init_args.shots_per_type", "data.init_args.split_seed"
RANDOM = {"model.init_args.pretrained": "random"}
FIGURES = (IOU, ACCURACY, "pixel_ap")


class GeneratedAugmentation(Study):
    """Stage 2 on K real pictures per type, on them and painted ones, and on all real ones.

    Stage 1 learns from the same K pictures, then paints the defect of each of `prompts` into the
    K good ones, `count` times: K x prompts x count pictures. manifest: of the real set, with good
    pictures; root: a folder above its pictures and our output. Every stage 2 sees as many crops.
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
        stage1 = replace(STAGE1, settings=seen, flags=(*STAGE1.flags, *self.real("pretrain")))
        real = finetune(REAL, {**RANDOM, **few, "setting": setting}, stage1="")
        both = finetune(BOTH, {**RANDOM, **few, "setting": f"{setting}_generated"}, stage1="")
        whole = finetune(ALL_REAL, RANDOM, stage1="")
        merged = ("--finetune.data.init_args.manifest", "{merged}/manifest.parquet")
        return [
            stage1,
            self.painted(),
            Variant(
                "generated",
                flags=("--source", "generated", "--root", "{painted}", "--out", "{here}"),
                needs=("painted",),
                module="experiments.prepare",
            ),
            self.merged(),
            replace(real, flags=(*real.flags, *self.real("finetune"))),
            replace(both, flags=(*both.flags, *merged), needs=("merged",)),
            replace(whole, flags=(*whole.flags, *self.real("finetune"))),
        ]

    def real(self, stage: str) -> tuple[str, str]:
        """The words by which a stage learns from the real set."""
        return f"--{stage}.data.init_args.manifest", self.manifest

    def painted(self) -> Variant:
        """The pictures that stage 1 paints."""
        prompts = [word for prompt in self.prompts for word in ("--prompt", prompt)]
        return Variant(
            "painted",
            flags=(
                *("--checkpoint", "{stage1}", "--images", self.manifest, "--draw_masks", *prompts),
                *("--max_images", str(self.shots), "--count", str(self.count)),
                *("--steps", str(self.steps), "--seed", "{seed}", "--out", "{here}", "--overwrite"),
            ),
            needs=(STAGE1.name,),
            module="experiments.generate",
        )

    def merged(self) -> Variant:
        """Real and painted pictures under one manifest; what would leak is left out there."""
        manifests = f"[{self.manifest}, {{generated}}/manifest.parquet]"
        return Variant(
            "merged",
            flags=(
                *("--source", "merged", "--root", self.root, "--out", "{here}"),
                *("--max_alike_fraction", "1", "--source.init_args.manifests", manifests),
            ),
            needs=("generated",),
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
            f"generated pictures change {figure} by {told(change)}"
            for figure, change in changes.items()
            if change
        ]
        return Report((table,), charts, tuple(answers))
