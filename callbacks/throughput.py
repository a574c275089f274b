"""Speed: images per second of training, milliseconds per image of the test."""

import statistics
import time

from lightning import Callback, LightningModule, Trainer

from datamodules.sample import Batch

METRIC = "perf/images_per_s"
TEST_METRIC = "perf/test_ms_per_image"


class Throughput(Callback):
    """Logs `perf/images_per_s`: images of all processes per second since the first steps, waiting
    for data included and validation left out; and `perf/test_ms_per_image`: the median over the
    test's batches, waiting left out, the counting of metrics included.

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
        self._test_ms: list[float] = []

    @property
    def images_per_s(self) -> float:
        """Images per second of this process so far; 0.0 while nothing is counted."""
        return self.image_count / self.seconds if self.seconds > 0 else 0.0

    def on_train_start(self, *_: object) -> None:
        """Start counting anew."""
        self.image_count, self.seconds, self._seen_steps = 0, 0.0, 0
        self._last = time.perf_counter()

    def on_train_epoch_start(self, *_: object) -> None:
        """Leave out what lies between epochs."""
        self._last = time.perf_counter()

    def on_validation_end(self, *_: object) -> None:
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

    def on_test_start(self, *_: object) -> None:
        """Start counting anew."""
        self._test_ms = []

    def on_test_batch_start(self, *_: object) -> None:
        """Begin the batch once its data is there."""
        self._last = time.perf_counter()

    def on_test_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        *_: object,
    ) -> None:
        """Note what each of the batch's images took."""
        seconds = time.perf_counter() - self._last
        self._test_ms.append(1000 * seconds / batch.image.shape[0])

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the median of this process's batches."""
        if self._test_ms:
            pl_module.log(TEST_METRIC, statistics.median(self._test_ms), batch_size=1)
