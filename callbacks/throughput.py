"""Training speed in images per second, waiting for data included, validation left out."""

import time

from lightning import Callback, LightningModule, Trainer

from datamodules.sample import Batch

METRIC = "perf/images_per_s"


class Throughput(Callback):
    """Logs `perf/images_per_s`: images of all processes per second since the first steps.

    skip_steps: steps at the start that are not counted, because caches fill and kernels compile.
    """

    def __init__(self, skip_steps: int = 10) -> None:
        if skip_steps < 0:
            raise ValueError(f"skip_steps: got {skip_steps}, expected 0 or more")
        self.skip_steps = skip_steps
        self.image_count = 0
        self.seconds = 0.0
        self._seen_steps = 0
        self._last = 0.0

    @property
    def images_per_s(self) -> float:
        """Images per second of this process so far; 0.0 while nothing is counted."""
        return self.image_count / self.seconds if self.seconds > 0 else 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start counting anew."""
        self.image_count, self.seconds, self._seen_steps = 0, 0.0, 0
        self._last = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out what lies between epochs."""
        self._last = time.perf_counter()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave out the validation."""
        self._last = time.perf_counter()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        """Count the batch and the time since the end of the one before."""
        now = time.perf_counter()
        self._seen_steps += 1
        if self._seen_steps > self.skip_steps:
            self.image_count += batch.image.shape[0]
            self.seconds += now - self._last
            speed = self.images_per_s * trainer.world_size
            pl_module.log(METRIC, speed, on_step=True, on_epoch=False, batch_size=1)
        self._last = now
