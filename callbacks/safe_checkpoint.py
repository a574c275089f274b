"""Saves training so that nothing is lost: every so many steps, each epoch, at the end, on a signal.

How a file gets on the disk whole is in `checkpoint_file.py`; finding the one to go on with is
`experiments/running/resume.py`'s.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from callbacks.checkpoint_file import (
    publish_last,
    remove_older,
    remove_unfinished,
    step_path,
    write_checkpoint,
)
from callbacks.loop_progress import count_in_batches_of, mark_validation_pending
from callbacks.rank_vote import any_rank
from callbacks.stop_signal import RunStopped, stop_signal_of

logger = logging.getLogger(__name__)

FOLDER_NAME = "checkpoints"
METRIC = "perf/failed_checkpoints"
KEY = "progress"


class Batches(Protocol):
    """How a step's samples are shared out."""

    @property
    def device_batch_size(self) -> int:
        """Samples that one process takes at a time."""


@runtime_checkable
class Planned(Protocol):
    """A datamodule that says so."""

    def plan(self, process_count: int) -> Batches:
        """The plan for so many processes."""


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints whole or not at all; a disk that refuses is noted in `failure`.

    It is not raised: the other ranks wait for this one at the end of Lightning's save.
    """

    def __init__(self) -> None:
        self.failure: OSError | None = None
        self.digest = ""

    def save_checkpoint(
        self, checkpoint: Mapping[str, object], path: str | Path, storage_options: object = None
    ) -> None:
        """Write the file and its hash."""
        self.failure = None
        try:
            self.digest = write_checkpoint(checkpoint, Path(path))
        except OSError as error:
            self.failure = error


class SafeCheckpoint(Checkpoint):
    """Keeps the newest `keep` checkpoints in `checkpoints/` of the run, and `last.ckpt`.

    every_steps: optimizer steps between two; one more is saved at the end of each epoch. Where
    the disk is full or read-only, training goes on with the last good one kept; how often that
    happened is logged as `perf/failed_checkpoints`. Raises RunStopped once a stop that all ranks
    agreed on is saved.
    """

    def __init__(self, every_steps: int = 1000, keep: int = 2) -> None:
        if every_steps < 1 or keep < 2:
            raise ValueError(
                f"checkpoints: got every_steps {every_steps} and keep {keep}, expected at least 1 "
                "and 2: one may break while the other is written"
            )
        super().__init__()
        self.every_steps, self.keep = every_steps, keep
        self.failed = 0
        self._folder = Path(FOLDER_NAME)
        self._io = SafeCheckpointIO()
        self._saved_step = 0
        self._validation_pending = False
        self._unlogged: dict[str, float] = {}

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take over how the trainer writes files."""
        if stage != "fit":
            return
        if getattr(trainer.strategy, "_state_dict_type", "full") != "full":
            raise ValueError(
                "trainer.strategy: got state_dict_type sharded, expected full: a checkpoint is one "
                "file that any number of processes can go on with"
            )
        self._folder = Path(trainer.default_root_dir) / FOLDER_NAME
        self._saved_step = 0
        trainer.strategy.checkpoint_io = self._io
        if trainer.is_global_zero:
            remove_unfinished(self._folder)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Save after the step if it is due, or the last one before a stop."""
        loop = trainer.fit_loop.epoch_loop
        if loop._should_accumulate():
            return
        fetcher = trainer.fit_loop._data_fetcher
        assert fetcher is not None
        validates = loop._should_check_val_fx(fetcher)
        if trainer.is_last_batch and not validates:
            return  # the epoch ends here, which is saved next
        stopping = self._stopping(trainer)
        due = trainer.global_step % self.every_steps == 0 and not trainer.is_last_batch
        if due or stopping:
            self._unlogged = step_metrics(trainer)
            self.save(trainer, validation_pending=validates)
            self._unlogged = {}
        if stopping:
            self._stop(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop inside a validation, which a resume begins anew."""
        if trainer.state.fn == "fit" and not trainer.sanity_checking and self._stopping(trainer):
            self.save(trainer, validation_pending=True)
            self._stop(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the epoch."""
        self.save(trainer)
        if self._stopping(trainer):
            self._stop(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Try once more where the last save failed."""
        if self._saved_step != trainer.global_step:
            self.save(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note what a resume needs beside Lightning's own state."""
        checkpoint[KEY] = {
            "samples_per_batch": samples_per_batch(trainer),
            "samples_per_step": samples_per_batch(trainer) * trainer.accumulate_grad_batches,
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
            # Lightning logs a step after the hook in which it is saved here.
            "unlogged": self._unlogged,
            "unlogged_step": trainer.fit_loop.epoch_loop._batches_that_stepped,
        }
        if self._validation_pending:
            mark_validation_pending(checkpoint)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Find the place in an epoch that other batches than ours have come through."""
        if trainer.state.fn != "fit" or KEY not in checkpoint:
            return
        self._saved_step = checkpoint["global_step"]
        samples = samples_per_batch(trainer)
        saved_step, step = (
            checkpoint[KEY]["samples_per_step"],
            samples * trainer.accumulate_grad_batches,
        )
        if saved_step != step:
            raise ValueError(
                f"the checkpoint was made with {saved_step} samples a step, got {step}: set "
                f"data.init_args.global_batch_size to {saved_step}, which any number of processes "
                "that divides it can share"
            )
        saved = checkpoint[KEY]["samples_per_batch"]
        count_in_batches_of(checkpoint, saved=saved, samples=samples)

    def state_dict(self) -> dict[str, int]:
        """How often the disk has refused."""
        return {"failed": self.failed}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on counting."""
        self.failed = state_dict["failed"]

    def save(self, trainer: Trainer, *, validation_pending: bool = False) -> None:
        """Save this step; all ranks must call it.

        validation_pending: the validation that follows this step was not finished.
        """
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        step = trainer.global_step
        self._validation_pending = validation_pending
        path = step_path(self._folder, step)
        trainer.save_checkpoint(path)
        self._validation_pending = False
        failure = self._io.failure
        if failure is None and trainer.is_global_zero:
            try:
                publish_last(path, self._io.digest)
                remove_older(self._folder, step, self.keep)
            except OSError as error:
                failure = error
        # Only the first process knows; all must agree whether to try again at the end.
        if not any_rank(trainer, [failure is not None])[0]:
            self._saved_step = step
        if failure is not None:
            self._report(trainer, failure)

    def _report(self, trainer: Trainer, failure: OSError) -> None:
        self.failed += 1
        logger.warning(
            "checkpoint of step %d could not be saved in %s (%s): training goes on and the last "
            "good one is kept; free space there or make it writable",
            trainer.global_step,
            self._folder,
            failure.strerror or failure,
        )
        for tracker in trainer.loggers:
            tracker.log_metrics({METRIC: float(self.failed)}, step=trainer.global_step)

    def _stopping(self, trainer: Trainer) -> bool:
        stop = stop_signal_of(trainer)
        return stop is not None and stop.agreed

    def _stop(self, trainer: Trainer) -> None:
        stop = stop_signal_of(trainer)
        reason = (stop and stop.requested) or "a signal to another process"
        kept = f"step {self._saved_step} is saved" if self._saved_step else "nothing is saved"
        raise RunStopped(f"stopped by {reason} at step {trainer.global_step}, {kept}")


def step_metrics(trainer: Trainer) -> dict[str, float]:
    """What Lightning is about to log of this batch."""
    connector = trainer._logger_connector
    if not connector.should_update_logs:
        return {}
    return {name: float(value) for name, value in connector.metrics["log"].items()}


def samples_per_batch(trainer: Trainer) -> int:
    """Samples of one batch over all processes; 0 where the data does not say."""
    # Lightning types the datamodule as hidden.
    data = getattr(trainer, "datamodule", None)
    if not isinstance(data, Planned):
        return 0
    return data.plan(trainer.world_size).device_batch_size * trainer.world_size
