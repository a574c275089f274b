"""How far a few examples of each name go on a run's own data: on marked regions, and end to end.

    python -m experiments.try_examples --checkpoint RUN --out tried

What is measured is in `inference/example_trial.py`.
"""

import json
from pathlib import Path

from experiments.cli import check_is_free, run_command, whole_folder

FIGURES = "figures.json"
COUNTS, DRAWS = (1, 3, 5, 10), 5
COLUMNS = (
    *("regions", "K", "words", "examples", "both"),
    *("unknown: known", "strange", "nothing there"),
)
KEYS = ("words", "examples", "both", "known_unknown", "strange_unknown", "nothing_unknown")


def try_examples(*, checkpoint: Path, out: Path, images: int = 10, overwrite: bool = False) -> None:
    """Measure how often words, K examples of each name, and both, name a run's regions right.

    Examples are regions of its training images, drawn five times. Of a run with held_out_types
    these names alone are asked for, with examples and words of all names beside them.

    Args:
        checkpoint: a run directory or a .ckpt in it
        out: a new folder, for figures.json
        images: test images of each type, good ones too
        overwrite: replace an earlier figures.json in --out
    """
    check_is_free(out, entries=(FIGURES,), overwrite=overwrite)
    from datamodules.imdd import IMDDDataModule
    from experiments.checkpoints import load_any
    from experiments.inference.example_trial import ExampleTrial, draw_galleries, name_by_draws
    from experiments.inference.examples import ENCODER
    from experiments.inference.new_words import use_new_words
    from experiments.tables import Table, print_table
    from experiments.train import prepare_alone
    from lightning_modules.nets.region_embedding import RegionEmbedding
    from lightning_modules.segmentation_module import SegmentationModule

    restored = load_any(checkpoint)
    stage, data = restored.model, restored.data
    if not isinstance(stage, SegmentationModule):
        raise ValueError(
            f"checkpoint {restored.saved.file} holds {type(stage).__name__}, which finds no "
            "regions: expected the run of a stage 2 or of a baseline"
        )
    assert isinstance(data, IMDDDataModule)
    prepare_alone(data)
    data.setup("test")
    use_new_words(stage, checkpoint)
    trial = ExampleTrial(stage, RegionEmbedding(ENCODER), data.index)
    pool = trial.examples(3 * max(COUNTS))
    asked = data.division.held_out or trial.vocabulary.names[1:]
    kinds = dict(zip(("marked", "found"), trial.regions("test", images=images), strict=True))
    figures = {kind: dict[str, dict[str, float]]() for kind in kinds}
    for count in COUNTS:
        draws = draw_galleries(pool, count=count, draws=DRAWS)
        for kind, regions in kinds.items():
            figures[kind][f"k{count}"] = name_by_draws(
                draws, regions, asked, vocabulary=trial.vocabulary, right=trial.right
            )
    with whole_folder(out, entries=(FIGURES,), overwrite=overwrite) as folder:
        (folder / FIGURES).write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    rows = [
        (kind, count, *map(shares.get, KEYS))
        for kind, by_count in figures.items()
        for count, shares in by_count.items()
    ]
    print_table(Table("names by K examples of each", COLUMNS, tuple(rows)))


if __name__ == "__main__":
    run_command(try_examples)
