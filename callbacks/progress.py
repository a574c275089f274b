"""Progress as plain log lines, for everything that is not a terminal."""

import logging
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
        self._last_step = self._images = 0
        self._since = 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._restart(trainer.global_step)

    def on_train_batch_end(  # type: ignore[override]  # Lightning's outputs always have the loss
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: Mapping[str, Tensor],
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Log a line when enough steps are done."""
        self._images += batch.image.shape[0]
        step, last = trainer.global_step, trainer.max_steps
        done = step - self._last_step
        if done < self.every_steps:
            return
        seconds = max(time.perf_counter() - self._since, 1e-9)
        if trainer.is_global_zero:
            left_s = (last - step) * seconds / done
            left = f"{left_s:.0f} s" if left_s < 100 else f"{left_s / 60:.0f} min"
            logger.info(
                "step %s, epoch %d: loss %.4f, %.2f steps/s, %.1f images/s%s",
                f"{step}/{last}" if last > 0 else str(step),
                trainer.current_epoch,
                float(outputs["loss"]) * trainer.accumulate_grad_batches,
                done / seconds,
                self._images * trainer.world_size / seconds,
                f", {left} left" if last > step else "",
            )
        self._restart(step)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the validation metrics in one line and leave its time out of the speed."""
        if trainer.is_global_zero and not trainer.sanity_checking:
            metrics = sorted(trainer.callback_metrics.items())
            words = [f"{name} {float(value):.4f}" for name, value in metrics if "/val/" in name]
            said = ", ".join(words) or "no metrics"
            logger.info("validated at step %d: %s", trainer.global_step, said)
        self._restart(trainer.global_step)

    def _restart(self, step: int) -> None:
        self._last_step, self._images, self._since = step, 0, time.perf_counter()
