"""Stage 1 and a baseline at their smallest, by one process or by several that share the work.

`python -m torch.distributed.run --nproc-per-node 2 THIS_FILE FOLDER` does each of JOBS in two
processes, and then evaluates; what they leave in FOLDER is what tests compare.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import Tensor, nn
from torch.utils.data import DataLoader

from callbacks.ema import WeightEma
from datamodules.imdd import IMDDDataModule
from datamodules.sample import Batch
from datamodules.sources.synthetic import Synthetic
from datamodules.transforms import NativeCrop
from lightning_modules.baselines.unet import Unet
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.distribution import ShardedStrategy
from lightning_modules.nets.post_processing import OperatingPoints, TypeThresholds
from tests.lightning_modules.small_parts import quiet_trainer, small_diffusion

HALF = 3  # in the middle of an epoch
JOBS = {"ddp": 8, "sharded": 2, "sharded_resumed": 8}  # images in one pass, at most


class NoteTaker(Callback):
    """Notes the rows that this process validates last or tests, and the curves of all processes.

    Half way through a fit it saves a checkpoint.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        self.rows: list[int] = []
        self.curves: dict[str, list[float]] = {}

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Save the half-way step, once of several passes."""
        half = self.folder / f"{self.name}_half.ckpt"
        if trainer.global_step == HALF and not half.exists():
            trainer.save_checkpoint(half)

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: object, batch: Batch, *_: int
    ) -> None:
        """Note the rows of the last epoch."""
        if trainer.current_epoch == 1:
            self.rows += batch.row.tolist()

    def on_test_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: object, batch: Batch, *_: int
    ) -> None:
        """Note the rows."""
        self.rows += batch.row.tolist()

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the curves, when the callback that draws them asks too."""
        assert isinstance(pl_module, Unet) and pl_module.evaluation is not None
        curves = pl_module.evaluation.curves("test")
        drawn = {"confusion": curves.confusion, **curves.precision_recall, **curves.reliability}
        self.curves = {name: points.flatten().tolist() for name, points in drawn.items()}

    def leave(self, rank: int, figures: dict[str, float]) -> None:
        """Write the notes to `NAME_RANK.json`."""
        content = {"rows": self.rows, "curves": self.curves, "figures": figures}
        (self.folder / f"{self.name}_{rank}.json").write_text(json.dumps(content))


def write_data(folder: Path) -> None:
    """The manifest of some images with defects: 45 to train on, so five steps an epoch."""
    settings = {"train_fraction": 0.7, "val_fraction": 0.2, "test_fraction": 0.1}
    data = IMDDDataModule(
        Synthetic(72, 72), str(folder / "data"), manifest_folder=str(folder), **settings
    )
    data.prepare_data()
    next(folder.glob("*.parquet")).rename(folder / "manifest.parquet")


def train(
    folder: Path, name: str, *, batch_size: int, strategy: Strategy | str, resume: Path | None
) -> None:
    """Stage 1's first ten steps from seed 0, of 8 crops each; their end is in `NAME.ckpt`."""
    data = IMDDDataModule(
        manifest=str(folder / "manifest.parquet"),
        train_transform=NativeCrop(64),
        batch_size=batch_size,
        global_batch_size=8,
        max_val_images=5,  # which two processes cannot share evenly
        eval_batch_size=2,
    )
    data.setup()
    seed_everything(0, verbose=False)
    # This image tower has no statistics of a batch.
    model = DiffusionPretrain(small_diffusion(tower="test_efficientnet_gn"), warmup_steps=4)
    model.load()
    model.measure(data.training_images(16))
    taker = NoteTaker(folder, name)
    trainer = quiet_trainer(
        folder,
        devices=int(os.environ.get("WORLD_SIZE", "1")),
        strategy=strategy,
        max_epochs=2,
        gradient_clip_val=0.5,
        callbacks=[WeightEma(0.9), taker],
        num_sanity_val_steps=1,
    )
    trainer.accumulate_grad_batches = data.plan(trainer.world_size).accumulation
    trainer.fit(model, data, ckpt_path=resume)
    trainer.save_checkpoint(folder / f"{name}.ckpt")
    (figures,) = trainer.validate(model, data, verbose=False)
    taker.leave(trainer.global_rank, {key: float(value) for key, value in figures.items()})


def evaluate(folder: Path, name: str) -> None:
    """A baseline of random weights, validated and tested."""
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    data = IMDDDataModule(manifest=str(folder / "manifest.parquet"))
    data.setup()
    seed_everything(0, verbose=False)
    model = Unet(class_count=len(data.vocabulary), tile_px=64, tile_overlap_px=0)
    model.set_vocabulary(data.vocabulary)
    taker = NoteTaker(folder, name)
    strategy = DDPStrategy() if processes > 1 else "auto"
    trainer = quiet_trainer(folder, devices=processes, strategy=strategy, callbacks=[taker])
    (validated,) = trainer.validate(model, data, verbose=False)
    # Untrained scores would all lie under the default threshold.
    best = float(validated["mask/val/iou_image_threshold_best"])
    model.post_processing.calibrate(OperatingPoints(TypeThresholds(best)))
    (tested,) = trainer.test(model, data, verbose=False)
    figures = {key: float(value) for key, value in (validated | tested).items()}
    taker.leave(trainer.global_rank, figures)


class Normed(LightningModule):
    """A batch norm that sees other numbers in each process; it notes the means that validate."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)
        self.validated: list[float] = []

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        """The mean square of what the norm makes of numbers about 1 more than the rank."""
        return self.norm(batch + self.global_rank).square().mean()

    def validation_step(self, batch: Tensor, batch_idx: int) -> None:
        """Note the mean."""
        self.validated = self.norm.running_mean.tolist()  # type: ignore[union-attr]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.1)


def train_norm(folder: Path) -> None:
    """One sharded epoch of two steps; each process leaves the means it validated and ended with."""
    seed_everything(0, verbose=False)
    batches = DataLoader([torch.rand(4, 2) for _ in range(2)], batch_size=None)  # type: ignore[arg-type]
    model = Normed()
    trainer = quiet_trainer(
        folder, devices=2, strategy=ShardedStrategy(), use_distributed_sampler=False
    )
    trainer.fit(model, batches, batches)
    content = [model.validated, model.norm.running_mean.tolist()]  # type: ignore[union-attr]
    (folder / f"norm_{trainer.global_rank}.json").write_text(json.dumps(content))


def strategy_of(job: str) -> Strategy:
    """What the job's overlay names, with units of a size that the small net has several of."""
    if job == "ddp":
        return DDPStrategy(find_unused_parameters=False, gradient_as_bucket_view=True)
    return ShardedStrategy(unit_weights=50_000)


def read_notes(folder: Path, name: str) -> list[dict[str, Any]]:
    """The notes of each process."""
    return [json.loads(path.read_text()) for path in sorted(folder.glob(f"{name}_?.json"))]


def weights_of(checkpoint: Path, key: str) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name: averages in `state_dict`."""
    return torch.load(checkpoint, weights_only=True)[key]


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    for job, size in JOBS.items():
        start = place / "one_half.ckpt" if job == "sharded_resumed" else None
        train(place, job, batch_size=size, strategy=strategy_of(job), resume=start)
    evaluate(place, "evaluated_two")
    train_norm(place)
    # Else a process may end while a thread of gloo still runs, which aborts it.
    torch.distributed.destroy_process_group()
