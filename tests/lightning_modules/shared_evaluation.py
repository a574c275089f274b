"""A baseline of random weights, validated and tested by one process or by several together.

`python -m torch.distributed.run --nproc-per-node 2 THIS_FILE FOLDER` does so in two processes;
what they leave in FOLDER is what tests compare. A process started so finds no other file of the
tests, so this one imports none.
"""

import json
import os
import sys
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy

from datamodules.imdd import IMDDDataModule
from datamodules.sample import Batch
from datamodules.sources.synthetic import Synthetic
from lightning_modules.baselines.unet import Unet
from lightning_modules.nets.post_processing import OperatingPoints, TypeThresholds


class RowTaker(Callback):
    """Notes the rows that this process tests, and the curves of all before their figures."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.curves: dict[str, list[float]] = {}

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the curves, when the callback that draws them asks too."""
        assert isinstance(pl_module, Unet) and pl_module.evaluation is not None
        curves = pl_module.evaluation.curves("test")
        drawn = {"confusion": curves.confusion, **curves.precision_recall, **curves.reliability}
        self.curves = {name: points.flatten().tolist() for name, points in drawn.items()}

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note the rows of a batch."""
        self.rows += batch.row.tolist()


def write_data(folder: Path) -> None:
    """The manifest of some images with defects, an odd number of them to test on."""
    data = IMDDDataModule(Synthetic(30, 64), str(folder / "data"), manifest_folder=str(folder))
    data.prepare_data()
    next(folder.glob("*.parquet")).rename(folder / "manifest.parquet")


def evaluate(folder: Path, name: str) -> None:
    """Leaves the figures of both splits, the tested rows and curves in `NAME_RANK.json`."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    data = IMDDDataModule(manifest=str(folder / "manifest.parquet"))
    data.setup()
    seed_everything(0, verbose=False)
    model = Unet(class_count=len(data.vocabulary), tile_px=64, tile_overlap_px=0)
    model.set_vocabulary(data.vocabulary)
    taker = RowTaker()
    trainer = Trainer(
        accelerator="cpu",
        devices=processes,
        strategy=DDPStrategy() if processes > 1 else "auto",
        callbacks=[taker],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )
    (validated,) = trainer.validate(model, data, verbose=False)
    # Untrained scores would all lie under the default threshold.
    best = float(validated["mask/val/iou_image_threshold_best"])
    model.post_processing.calibrate(OperatingPoints(TypeThresholds(best)))
    (tested,) = trainer.test(model, data, verbose=False)
    figures = {key: float(value) for key, value in (validated | tested).items()}
    text = json.dumps({"figures": figures, "rows": taker.rows, "curves": taker.curves})
    (folder / f"{name}_{trainer.global_rank}.json").write_text(text)


if __name__ == "__main__":
    torch.set_num_threads(1)
    evaluate(Path(sys.argv[1]), "two")
