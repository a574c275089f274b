"""A model of three weights and its batches: what callbacks are tried on."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger
from torch import Tensor, nn
from torch.utils.data import DataLoader

from callbacks.checkpoint import SafeCheckpoint
from datamodules.sample import Batch


class ToyModule(LightningModule):
    """A trainable head on a frozen backbone; notes the head's weight whenever it validates."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Linear(3, 3).requires_grad_(False)
        self.head = nn.Linear(3, 1)
        self.register_buffer("threshold", torch.tensor(0.0))
        self.validated: list[Tensor] = []
        self.tested: list[Tensor] = []

    def look_at(self, images: Iterable[Tensor]) -> None:
        """Nothing is scored by other images."""

    def predict_images(self, images: Sequence[Tensor]) -> list[Tensor]:
        """The head's answer to each image's mean colour."""
        return [self.head(self.backbone(image.mean(dim=(1, 2)))) for image in images]

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Mean square of the head's answer to the mean colour."""
        loss = self.head(self.backbone(batch.image.mean((2, 3)))).square().mean()
        self.log("mask/train/loss", loss)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Note the weights that validate."""
        self.validated.append(self.head.weight.detach().clone())
        self.log("mask/val/iou_image", 0.5, batch_size=1)

    def on_validation_epoch_end(self) -> None:
        """Calibrate, as a real module does after its last validation batch."""
        self.threshold += 1

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Note the weights that are tested."""
        self.tested.append(self.head.weight.detach().clone())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD on the head."""
        return torch.optim.SGD(self.head.parameters(), lr=0.1)


def toy_batch(image_count: int = 2) -> Batch:
    """Random images without masks."""
    return Batch(
        image=torch.rand(image_count, 3, 4, 4) + 1,
        mask=torch.zeros(image_count, 4, 4, dtype=torch.int64),
        has_mask=torch.zeros(image_count, dtype=torch.bool),
        is_box=torch.zeros(image_count, dtype=torch.bool),
        captions=[""] * image_count,
        class_ids=[()] * image_count,
        row=torch.arange(image_count),
        seeds=list(range(image_count)),
    )


BATCHES = [toy_batch() for _ in range(4)]


def toy_loader(batch_count: int = 4) -> DataLoader[Batch]:
    """Loader of ready batches."""
    batches = [toy_batch() for _ in range(batch_count)]
    return DataLoader(batches, batch_size=None)  # type: ignore[arg-type]


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


def toy_trainer(
    folder: Path,
    callbacks: Sequence[Callback],
    *,
    max_epochs: int = 1,
    accumulate: int = 1,
    logger: Logger | None = None,
    **settings: Any,
) -> Trainer:
    """A silent CPU trainer, which saves where one of the callbacks does."""
    return Trainer(
        accelerator="cpu",
        max_epochs=max_epochs,
        default_root_dir=folder,
        callbacks=list(callbacks),
        accumulate_grad_batches=accumulate,
        logger=logger or False,
        enable_checkpointing=any(isinstance(one, SafeCheckpoint) for one in callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        **{"devices": 1, **settings},
    )
