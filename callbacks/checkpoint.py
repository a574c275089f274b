"""Saves training so that it can go on: every so many steps, each epoch, at the end, on a signal.

Finding the checkpoint to go on with is `experiments/resume.py`'s.
"""

import logging
import os
import re
import shutil
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.plugins.io import TorchCheckpointIO

from datamodules.whole_files import UNFINISHED_SUFFIX, whole

logger = logging.getLogger(__name__)

FOLDER_NAME, LAST_NAME = "checkpoints", "last.ckpt"
STEP_NAME = re.compile(r"step_(\d{8,})\.ckpt")
KEY = "progress"
SIGNALS = (signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGHUP)
TRAINED, VALIDATED = "epoch_loop.batch_progress", "epoch_loop.val_loop.batch_progress"


class RunStopped(BaseException):
    """The run was told to stop and has stopped; what is done so far lies on the disk.

    No Exception, so that whatever forgives errors on its way does not forgive this. signal: the one
    that this process has heard, if any.
    """

    def __init__(self, words: str, *, signal: str = "") -> None:
        super().__init__(words)
        self.signal = signal


class StopSignal(Callback):
    """Listens for SIGTERM, SIGUSR1, Ctrl-C and a terminal that closes: training stops once the step
    under way is saved, by SafeCheckpoint; everything else, and a second Ctrl-C, stops at once.

    What stops raises RunStopped. requested: the signal that came, empty while there was none.
    """

    def __init__(self) -> None:
        self.requested = ""
        self._training = False
        self._process = os.getpid()

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen inside this context."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self._listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _listen(self, *_: object) -> None:
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:  # by nohup, or in the background
                signal.signal(number, self._hear)

    # In place of Lightning, which listens itself from here on and stops without saving.
    on_validation_start = on_test_start = _listen  # type: ignore[assignment]

    def on_train_start(self, *_: object) -> None:
        """From here on a signal waits for the step's end."""
        self._training = True
        self._listen()

    def on_fit_end(self, *_: object) -> None:
        """Stop here if a signal came with the last step."""
        self._training = False
        if self.requested:
            raise RunStopped(f"stopped by {self.requested} after training", signal=self.requested)

    def on_exception(self, *_: object) -> None:
        """Training is over."""
        self._training = False

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            return  # a loader's worker that the terminal tells too: the run ends it
        name = signal.Signals(number).name
        is_second = self.requested == name == "SIGINT"
        self.requested = self.requested or name
        if is_second:
            signal.signal(number, signal.SIG_DFL)  # a third ends whatever hangs
        if is_second or not self._training:
            raise RunStopped(f"stopped by {name}", signal=self.requested)


class SafeCheckpointIO(TorchCheckpointIO):
    """Writes checkpoints whole or not at all; a disk that refuses is noted in `failure`.

    It is not raised: the other ranks wait for this one at the end of Lightning's save.
    """

    failure: OSError | None = None

    def save_checkpoint(
        self, checkpoint: Mapping[str, object], path: str | Path, storage_options: object = None
    ) -> None:
        """Write the file."""
        self.failure = None
        try:
            write_checkpoint(checkpoint, Path(path))
        except OSError as error:
            self.failure = error


class SafeCheckpoint(Checkpoint):
    """Keeps the newest `keep` checkpoints in `checkpoints/` of the run, and `last.ckpt`.

    every_steps: optimizer steps between two; one more is saved at the end of each epoch. Where
    the disk is full or read-only, training goes on with the last good one kept. Raises RunStopped
    once all ranks have saved the step after which the trainer's StopSignal asked one to stop.
    """

    def __init__(self, every_steps: int = 1000, keep: int = 2) -> None:
        if every_steps < 1 or keep < 2:
            raise ValueError(
                f"checkpoints: got every_steps {every_steps} and keep {keep}, expected at least 1 "
                "and 2: one may break while the other is written"
            )
        super().__init__()
        self.every_steps, self.keep = every_steps, keep
        self._io = SafeCheckpointIO()
        self._folder = Path(FOLDER_NAME)
        self._stop = StopSignal()
        self._seen_step = self._saved_step = 0
        self._stopping = False

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Take over how the trainer writes files."""
        if stage != "fit":
            return
        trainer.strategy.checkpoint_io = self._io
        for callback in trainer.callbacks:  # type: ignore[attr-defined]
            self._stop = callback if isinstance(callback, StopSignal) else self._stop
        self._folder = Path(trainer.default_root_dir) / FOLDER_NAME
        if trainer.is_global_zero:
            # What a killed process was writing.
            for path in self._folder.glob(f".*{UNFINISHED_SUFFIX}"):
                path.unlink(missing_ok=True)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count optimizer steps."""
        self._seen_step = trainer.global_step

    def on_train_batch_start(self, trainer: Trainer, *_: object) -> None:
        """Stop once the step that was saved before it is logged, too."""
        if self._stopping:
            self._raise_stopped(trainer)

    def on_train_batch_end(self, trainer: Trainer, *_: object) -> None:
        """Save after the step if it is due, or the last one before a stop."""
        step = trainer.global_step
        is_new, self._seen_step = step != self._seen_step, step
        is_last_batch = trainer.is_last_batch or 0 < trainer.max_steps <= step
        if not is_new or is_last_batch:
            return  # within a step of several batches, or where the epoch is saved next
        self._stopping = self._asked_to_stop(trainer)
        if self._stopping or step % self.every_steps == 0:
            self.save(trainer)

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop before a validation, which a resume begins with."""
        fits = trainer.state.fn == "fit" and not trainer.sanity_checking
        if fits and self._asked_to_stop(trainer):
            self.save(trainer)
            self._raise_stopped(trainer)

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *_: object
    ) -> None:
        """Stop inside it where no other rank waits; a resume begins it anew."""
        if trainer.world_size == 1:
            self.on_validation_start(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the epoch."""
        self.save(trainer)
        if self._asked_to_stop(trainer):
            self._raise_stopped(trainer)

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Note what a resume needs beside Lightning's own state."""
        samples = samples_per_batch(trainer)
        checkpoint[KEY] = {
            "samples_per_batch": samples,
            "samples_per_step": samples * trainer.accumulate_grad_batches,
            # Of itself, as by EarlyStopping.
            "stopped": trainer.should_stop and trainer.fit_loop._can_stop_early,
            "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
        }
        if trainer.validating:
            mark_validation_pending(checkpoint)

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Find the place in an epoch that other batches than ours have come through."""
        if trainer.state.fn != "fit" or KEY not in checkpoint:
            return
        self._saved_step = checkpoint["global_step"]
        samples, saved = samples_per_batch(trainer), checkpoint[KEY]
        if saved["samples_per_step"] != samples * trainer.accumulate_grad_batches:
            raise ValueError(
                f"the checkpoint was made with {saved['samples_per_step']} samples a step, got "
                f"{samples * trainer.accumulate_grad_batches}: set data.init_args.global_batch_size"
                f" to {saved['samples_per_step']}, which any number of processes that divides it "
                "can share"
            )
        count_in_batches_of(checkpoint, saved=saved["samples_per_batch"], samples=samples)

    def save(self, trainer: Trainer) -> None:
        """Save this step; all ranks must call it."""
        if trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        path = step_path(self._folder, trainer.global_step)
        trainer.save_checkpoint(path)
        failure = self._io.failure
        if trainer.is_global_zero and failure is None:
            try:
                publish(path, self.keep)
            except OSError as error:
                failure = error
        if failure is None:
            self._saved_step = trainer.global_step
            return
        logger.warning(
            "checkpoint of step %d could not be saved in %s (%s): training goes on and the last "
            "good one is kept; free space there or make it writable",
            trainer.global_step,
            self._folder,
            failure.strerror or failure,
        )

    def _asked_to_stop(self, trainer: Trainer) -> bool:
        """Whether a signal came to any rank; all must ask at the same place."""
        return trainer.strategy.reduce_boolean_decision(bool(self._stop.requested), all=False)

    def _raise_stopped(self, trainer: Trainer) -> None:
        reason = self._stop.requested or "a signal to another process"
        kept = f"step {self._saved_step} is saved" if self._saved_step else "nothing is saved"
        words = f"stopped by {reason} at step {trainer.global_step}, {kept}"
        raise RunStopped(words, signal=self._stop.requested)


def step_path(folder: Path, step: int) -> Path:
    """The checkpoint file of a step."""
    return folder / f"step_{step:08d}.ckpt"


def step_of(path: Path) -> int:
    """The step in a checkpoint's name; -1 where it names none."""
    match = STEP_NAME.fullmatch(path.name)
    return int(match[1]) if match else -1


def write_checkpoint(content: Mapping[str, object], path: Path) -> None:
    """Write the file whole or not at all; OSError where the disk refuses."""
    with whole(path) as unfinished:
        try:
            torch.save(dict(content), unfinished)
        except RuntimeError as error:
            if "inline_container" not in str(error):
                raise
            # All that torch's writer says of a full disk.
            raise OSError("the disk took only a part of it") from error


def publish(path: Path, keep: int) -> None:
    """Make `last.ckpt` one more name of the checkpoint, and keep the newest `keep` up to it.

    One of a later step is of an earlier life of the run and could not be read: it does not count.
    """
    with whole(path.with_name(LAST_NAME)) as unfinished:
        try:
            os.link(path, unfinished)
        except OSError:  # a disk without links
            shutil.copyfile(path, unfinished)
    steps = {step_of(one): one for one in path.parent.glob("step_*.ckpt")}
    for step in sorted(step for step in steps if 0 <= step <= step_of(path))[:-keep]:
        steps[step].unlink(missing_ok=True)


def samples_per_batch(trainer: Trainer) -> int:
    """Samples of one batch over all processes; 0 where the data does not say."""
    # Lightning types the datamodule as hidden.
    plan = getattr(getattr(trainer, "datamodule", None), "plan", None)
    ranks = trainer.world_size
    return 0 if plan is None else int(plan(ranks).device_batch_size) * ranks


def mark_validation_pending(checkpoint: Mapping[str, Any]) -> None:
    """Let a resume begin the validation under way anew: it is told as one in its first batch."""
    validated = checkpoint["loops"]["fit_loop"][VALIDATED]
    done = validated["total"]["completed"]
    validated["total"], validated["current"] = (
        {"ready": n + 1, "started": n + 1, "processed": n, "completed": n} for n in (done, 0)
    )


def count_in_batches_of(checkpoint: Mapping[str, Any], *, saved: int, samples: int) -> None:
    """Recount the batches of the epoch where one has `samples` samples now and had `saved`.

    Both are over all processes. Raises ValueError where the place is inside one of the new batches.
    """
    progress = checkpoint["loops"]["fit_loop"][TRAINED]
    done = progress["current"]["processed"] * saved
    if progress["is_last_batch"] or saved == samples:
        return
    if done % samples:
        raise ValueError(
            f"the checkpoint stands {done} samples into its epoch, which {samples} samples a step "
            "do not divide: resume with a batch size and number of processes whose product divides "
            f"{saved}"
        )
    shift = done // samples - progress["current"]["processed"]
    for counts in (progress["total"], progress["current"]):
        counts.update({name: count + shift for name, count in counts.items()})
