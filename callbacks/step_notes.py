"""What every training batch was made of and came to, in a file that is compared bit by bit."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from callbacks.plain_progress import loss_of
from datamodules.sample import Batch

NOTES_NAME = "steps.jsonl"


class StepNotes(Callback):
    """Appends a line per batch to `steps.jsonl` in the run's directory, on the first process.

    A line holds the batch's place, the optimizer steps done, the rows of the manifest, and loss
    and learning rate as exact hexadecimal floats. A resumed run repeats the lines it has redone.
    """

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, object] | None,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Append the line."""
        if not trainer.is_global_zero:
            return
        line = {
            "epoch": trainer.current_epoch,
            "batch": batch_idx,
            "step": trainer.global_step,
            "rows": torch.as_tensor(batch.row).tolist(),
            "loss": loss_of(outputs).hex(),
            "learning_rate": float(trainer.optimizers[0].param_groups[0]["lr"]).hex(),
        }
        with (Path(trainer.default_root_dir) / NOTES_NAME).open("a", encoding="ascii") as file:
            file.write(json.dumps(line) + "\n")
