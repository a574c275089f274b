"""The toy model with batches that keep their place: what saving and stopping is tried on."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from lightning import Callback, Trainer
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins import MixedPrecision
from torch import nn

from callbacks.checkpoint import SafeCheckpoint
from datamodules.sample import Batch
from tests.callbacks.toy_training import ToyModule, toy_batch

BATCHES = [toy_batch() for _ in range(4)]


class PlacedBatches:
    """Four batches an epoch; a checkpoint holds how many were handed out."""

    def __init__(self) -> None:
        self.place = 0

    def __len__(self) -> int:
        return len(BATCHES)

    def __iter__(self) -> Iterator[Batch]:
        start, self.place = self.place % len(BATCHES), self.place % len(BATCHES)
        for batch in BATCHES[start:]:
            self.place += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        return {"place": self.place}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        self.place = state_dict["place"]


class Normed(ToyModule):
    """The toy model behind a batch normalisation that learns."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))  # type: ignore[assignment]
        nn.init.ones_(self.head[1].weight)

    def training_step(self, batch: Batch, batch_idx: int) -> object:  # type: ignore[override]
        loss = self.head(batch.image.mean((2, 3))).square().mean()
        self.log("mask/train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        self.validated.append(self.head[1].weight.detach().clone())


def trainer_of(
    folder: Path,
    callbacks: Sequence[Callback],
    *,
    max_epochs: int = 2,
    accumulate: int = 1,
    logger: Logger | None = None,
    precision: MixedPrecision | None = None,
) -> Trainer:
    """A silent CPU trainer that may save."""
    return Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=max_epochs,
        default_root_dir=folder,
        callbacks=[*callbacks, *([] if has_checkpoint(callbacks) else [SafeCheckpoint()])],
        accumulate_grad_batches=accumulate,
        logger=logger or False,
        plugins=precision,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


def has_checkpoint(callbacks: Sequence[Callback]) -> bool:
    """Whether one of them saves."""
    return any(isinstance(callback, SafeCheckpoint) for callback in callbacks)


def saved_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in a run's directory."""
    return sorted(int(path.stem[5:]) for path in (folder / "checkpoints").glob("step_*.ckpt"))
