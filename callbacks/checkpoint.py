"""Saves training every so many steps, each epoch, at the end and when a signal stops it."""

import logging
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Protocol, runtime_checkable

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO
from torch import Tensor
from torch.optim import Optimizer

from callbacks.checkpoint_file import (
    publish_last,
    remove_older,
    remove_unfinished,
    step_path,
    write_checkpoint,
)
from callbacks.loop_progress import count_in_batches_of, mark_validation_pending

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


SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class RunStopped(BaseException):
    """The run was told to stop and has stopped; what is done so far lies on the disk.

    No Exception, so that whatever forgives errors on its way does not forgive this.
    """


class StopSignal(Callback):
    """Notes the signal, and lets all ranks agree on the step after which they stop.

    requested: the signal that came, empty while there was none; agreed: whether this step is
    everybody's last. Lightning's own handlers, which stop without saving, are replaced.
    """

    def __init__(self) -> None:
        self.requested = ""
        self.agreed = False
        self._training = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the signals inside this context."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self._listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on a signal waits for the step's end."""
        self._training, self.agreed = True, False
        self._listen()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hear the signals instead of Lightning."""
        self._listen()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hear the signals instead of Lightning."""
        self._listen()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Ask all ranks whether one was told to stop."""
        self._ask(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop inside a validation too, where no other rank waits for this one."""
        if self._training and trainer.world_size == 1:
            self.agreed = bool(self.requested)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask once more: the signal may have come while validating."""
        self._ask(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop here if a signal came with the last step."""
        self._training = False
        if self.requested:
            raise RunStopped(f"stopped by {self.requested} after training")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Training is over."""
        self._training = False

    def _ask(self, trainer: Trainer) -> None:
        requested = bool(self.requested)
        alone = trainer.world_size == 1
        self.agreed = requested if alone else any_rank(trainer, [requested])[0]

    def _listen(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number).name
        if not self._training:
            raise RunStopped(f"stopped by {self.requested}")


def stop_signal_of(trainer: Trainer) -> StopSignal | None:
    """The trainer's StopSignal, if it has one."""
    return next((one for one in trainer.callbacks if isinstance(one, StopSignal)), None)  # type: ignore[attr-defined]


def any_rank(trainer: Trainer, flags: Sequence[Tensor | bool]) -> list[bool]:
    """For each flag whether it is set on any rank; all ranks must ask at the same place."""
    device = trainer.strategy.root_device
    votes = torch.stack([torch.as_tensor(flag, device=device).float().amax() for flag in flags])
    if trainer.world_size > 1:
        torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
    return [vote > 0 for vote in votes.tolist()]
