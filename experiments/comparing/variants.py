"""Variants that many studies share, over a base of two stages, and the rows of their figures."""

from collections.abc import Mapping, Sequence

from experiments.comparing.paper_figures import ACCURACY, F1, IOU, MILLISECONDS
from experiments.comparing.paper_tables import PaperFigure, Row, rows_of
from experiments.comparing.study_plan import Results, Variant

STAGE1 = Variant("stage1", flags=("--only", "pretrain"), is_stage1=True)
PRETRAINED = "model.init_args.pretrained"
MANIFEST = "data.init_args.manifest"
SHOTS, SHOTS_SEED = "data.init_args.shots_per_type", "data.init_args.split_seed"
# Our names of figures, and the metrics of a test that hold them.
METRICS = {
    ACCURACY: "mask/test/type_accuracy",
    IOU: "mask/test/iou_image",
    F1: "mask/test/f1_image",
    "type_accuracy_defective": "mask/test/type_accuracy_defective",
    "type_accuracy_balanced": "mask/test/type_accuracy_balanced",
    "iou_dataset": "mask/test/iou_dataset",
    "pixel_auroc": "mask/test/pixel_auroc",
    "pixel_ap": "mask/test/pixel_ap",
    "aupro": "mask/test/aupro",
    "box_map_50": "mask/test/box_map_50",
    MILLISECONDS: "perf/test_ms_per_image",
}
PaperRows = Mapping[str, Mapping[str, PaperFigure]]


def finetune(name: str, settings: Mapping[str, object], *, stage1: str = STAGE1.name) -> Variant:
    """Stage 2 under `settings`, on the stage 1 of the variant `stage1`, "" for none but its own.

    settings: dotted keys of the stage, which a base of two stages keeps under `finetune`.
    """
    given = {f"finetune.{key}": value for key, value in settings.items()}
    if stage1:
        given[f"finetune.{PRETRAINED}"] = f"{{{stage1}}}"
    return Variant(name, given, flags=("--only", "finetune"), needs=(stage1,) if stage1 else ())


def finetune_on(name: str, settings: Mapping[str, object], pretrained: str) -> Variant:
    """Stage 2 on `pretrained`, a stage 1 that is there already or `random`, "" for the study's."""
    if not pretrained:
        return finetune(name, settings)
    return finetune(name, {**settings, PRETRAINED: pretrained}, stage1="")


def tested_again(name: str, trained: str, settings: Mapping[str, object]) -> Variant:
    """The weights of the variant `trained` at its own thresholds, tested zero-shot."""
    return Variant(
        name,
        {**settings, "setting": "zero_shot"},
        flags=(
            *("--weights", f"{{{trained}}}"),
            *("--thresholds", f"{{{trained}}}/thresholds.json"),
        ),
        needs=(trained,),
    )


def rows(
    results: Results,
    labels: Mapping[str, Mapping[str, str]],
    metrics: Sequence[str],
    paper: PaperRows | None = None,
) -> tuple[Row, ...]:
    """A row per figure and variant, the paper's beside it where settings agree, else below it.

    labels: per variant, what its row says by column; metrics: names of METRICS.
    """
    found = paper or {}
    return tuple(
        row
        for figure in metrics
        for variant, said in labels.items()
        for row in rows_of(
            measured(results, variant, said, figure), found.get(variant, {}).get(figure)
        )
    )


def measured(results: Results, variant: str, labels: Mapping[str, str], figure: str) -> Row:
    """The row of one figure of a variant, as far as its children have finished."""
    return Row(
        labels,
        figure,
        results.of(variant, METRICS[figure]),
        setting=results.tag(variant, "setting"),
        data=results.tag(variant, "dataset"),
        scale=results.tag(variant, "scale"),
        runs=tuple(results.run_ids(variant)),
    )
