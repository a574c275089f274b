"""Progress as plain log lines, for everything that is not a terminal."""

import logging
import math
import time
from collections.abc import Mapping

from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from datamodules.sample import Batch

logger = logging.getLogger(__name__)


class PlainProgress(Callback):
    """Logs one line every so many steps: loss, steps and images per second, time left.

    every_steps: optimizer steps between two lines. Only the first process logs.
    """

    def __init__(self, every_steps: int = 50) -> None:
        if every_steps < 1:
            raise ValueError(f"every_steps: got {every_steps}, expected at least 1")
        self.every_steps = every_steps
        self._last_step = 0
        self._batches = 0
        self._images = 0
        self._since = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._restart(trainer.global_step)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Tensor | Mapping[str, object] | None,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Log a line when enough steps are done."""
        self._batches += 1
        self._images += batch.image.shape[0]
        step = trainer.global_step
        if step - self._last_step < self.every_steps:
            return
        seconds = max(time.perf_counter() - self._since, 1e-9)
        if trainer.is_global_zero:
            logger.info(
                "step %s, epoch %d: loss %.4f, %.2f it/s, %.1f images/s%s",
                f"{step}/{trainer.max_steps}" if trainer.max_steps > 0 else str(step),
                trainer.current_epoch,
                loss_of(outputs),
                self._batches / seconds,
                self._images * trainer.world_size / seconds,
                time_left(trainer.max_steps - step, seconds / (step - self._last_step)),
            )
        self._restart(step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the validation metrics in one line and leave its time out of the speed."""
        if trainer.is_global_zero and not trainer.sanity_checking:
            metrics = {
                name: float(value)
                for name, value in sorted(trainer.callback_metrics.items())
                if "/val/" in name
            }
            words = ", ".join(f"{name} {value:.4f}" for name, value in metrics.items())
            logger.info("validated at step %d: %s", trainer.global_step, words or "no metrics")
        self._restart(trainer.global_step)

    def _restart(self, step: int) -> None:
        """Count from this step on."""
        self._last_step, self._batches, self._images = step, 0, 0
        self._since = time.perf_counter()


def loss_of(outputs: Tensor | Mapping[str, object] | None) -> float:
    """The loss in what training_step returned; nan where there is none."""
    loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
    return float(loss.detach()) if isinstance(loss, Tensor) else math.nan


def time_left(steps: int, seconds_per_step: float) -> str:
    """What remains, in words, with a comma before it; empty where the end is not known."""
    if steps <= 0:
        return ""
    seconds = steps * seconds_per_step
    return f", {seconds:.0f} s left" if seconds < 100 else f", {seconds / 60:.0f} min left"
