"""Stage 1 at its smallest, trained by one process or by several that share the work.

`python -m torch.distributed.run --nproc-per-node 2 THIS_FILE FOLDER` does each of JOBS in two
processes; what they leave in FOLDER is what tests compare. A process started so finds no other
file of the tests, so this one imports none.
"""

import json
import os
import sys
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer, seed_everything
from lightning.pytorch.strategies import DDPStrategy, Strategy
from torch import Tensor

from callbacks.ema import WeightEma
from datamodules.imdd import IMDDDataModule
from datamodules.sample import Batch
from datamodules.sources.synthetic import Synthetic
from datamodules.transforms import NativeCrop
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.distribution import ShardedStrategy
from lightning_modules.nets.autoencoder import DctAutoencoder
from lightning_modules.nets.denoiser import Denoiser
from lightning_modules.nets.diffusion_model import DiffusionModel
from lightning_modules.nets.image_encoder import TimmImageEncoder
from lightning_modules.nets.text_encoder import HashedTextEncoder

GLOBAL_BATCH_SIZE = 8
STEPS = 10
HALF = 3  # in the middle of an epoch
VAL_IMAGES = 5  # which two processes cannot share evenly
JOBS = {"ddp": 8, "sharded": 2, "sharded_resumed": 8}  # images in one pass, at most


@dataclass
class Notes:
    """What one process saw: per step the rows, epoch and learning rate, and the rows validated."""

    rows: list[list[int]] = field(default_factory=list)
    epochs: list[int] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    validated: list[int] = field(default_factory=list)
    metrics: dict[str, float] = field(default_factory=dict)


class NoteTaker(Callback):
    """Takes Notes, and saves a checkpoint half way."""

    def __init__(self, half: Path) -> None:
        self.notes, self.half = Notes(), half

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Note the batch, and after each step save it if it is the half-way one."""
        self.notes.rows.append(batch.row.tolist())
        self.notes.epochs.append(trainer.current_epoch)
        self.notes.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        if trainer.global_step == HALF and not self.half.exists():
            trainer.save_checkpoint(self.half)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Note the rows of the last epoch."""
        if trainer.current_epoch == 1:
            self.notes.validated += batch.row.tolist()


def write_data(folder: Path) -> None:
    """The manifest of some images with defects; 45 are to train on, so five steps an epoch."""
    settings = {"train_fraction": 0.7, "val_fraction": 0.2, "test_fraction": 0.1}
    data = IMDDDataModule(
        Synthetic(72, 72), str(folder / "data"), manifest_folder=str(folder), **settings
    )
    data.prepare_data()
    next(folder.glob("*.parquet")).rename(folder / "manifest.parquet")


def small_data(folder: Path, batch_size: int) -> IMDDDataModule:
    """The written data in steps of 8 crops."""
    data = IMDDDataModule(
        manifest=str(folder / "manifest.parquet"),
        train_transform=NativeCrop(64),
        batch_size=batch_size,
        global_batch_size=GLOBAL_BATCH_SIZE,
        max_val_images=VAL_IMAGES,
        eval_batch_size=2,
    )
    data.setup()
    return data


def small_pretrain(data: IMDDDataModule) -> DiffusionPretrain:
    """Stage 1 from seed 0; its image tower has no statistics of a batch."""
    seed_everything(0, verbose=False)
    parts = (DctAutoencoder(), HashedTextEncoder(16), TimmImageEncoder("test_efficientnet_gn"))
    denoiser = partial(
        Denoiser,
        block_channels=(16, 16, 32),
        attention=(False, False, True),
        layers_per_block=1,
        attention_heads=2,
        norm_groups=8,
    )
    model = DiffusionPretrain(DiffusionModel(*parts, denoiser=denoiser), warmup_steps=4)
    model.load()
    model.measure(data.training_images(16))
    return model


def train(
    folder: Path, name: str, *, batch_size: int, strategy: Strategy | str, resume: Path | None
) -> Notes:
    """Ten steps and their end in `NAME.ckpt`; this process's notes, also in `NAME_RANK.json`."""
    data = small_data(folder, batch_size)
    model = small_pretrain(data)
    taker = NoteTaker(folder / f"{name}_half.ckpt")
    trainer = Trainer(
        accelerator="cpu",
        devices=int(os.environ.get("WORLD_SIZE", "1")),
        strategy=strategy,
        max_epochs=2,
        gradient_clip_val=0.5,
        callbacks=[WeightEma(0.9), taker],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=1,
        default_root_dir=folder,
    )
    trainer.accumulate_grad_batches = data.plan(trainer.world_size).accumulation
    trainer.fit(model, data, ckpt_path=resume)
    trainer.save_checkpoint(folder / f"{name}.ckpt")
    (figures,) = trainer.validate(model, data, verbose=False)
    taker.notes.metrics = {key: float(value) for key, value in figures.items()}
    text = json.dumps(asdict(taker.notes))
    (folder / f"{name}_{trainer.global_rank}.json").write_text(text)
    return taker.notes


def strategy_of(job: str) -> Strategy:
    """What the job's overlay names, with units of a size that the small net has several of."""
    if job == "ddp":
        return DDPStrategy(find_unused_parameters=False, gradient_as_bucket_view=True)
    return ShardedStrategy(unit_weights=50_000)


def read_notes(folder: Path, job: str) -> list[Notes]:
    """The notes of each process."""
    return [Notes(**json.loads(path.read_text())) for path in sorted(folder.glob(f"{job}_?.json"))]


def weights_of(checkpoint: Path, key: str = "state_dict") -> dict[str, Tensor]:
    """The tensors of a checkpoint by name: averages in `state_dict`."""
    return torch.load(checkpoint, weights_only=True)[key]


if __name__ == "__main__":
    torch.set_num_threads(1)
    place = Path(sys.argv[1])
    for job, size in JOBS.items():
        start = place / "one_half.ckpt" if job == "sharded_resumed" else None
        train(place, job, batch_size=size, strategy=strategy_of(job), resume=start)
