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
        self.skip_steps = skip_steps
        self.image_count = self._seen_steps = 0
        self.seconds = self._last = 0.0
        self._test_ms: list[float] = []

    def on_train_start(self, *_: object) -> None:
        """Start counting anew."""
        self.image_count = self._seen_steps = 0
        self.seconds = 0.0

    def _restart(self, *_: object) -> None:
        self._last = time.perf_counter()

    # What lies between epochs, and the validation, is left out.
    on_train_epoch_start = on_validation_end = _restart  # type: ignore[assignment]
    on_test_batch_start = _restart  # type: ignore[assignment]

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: object, batch: Batch, *_: object
    ) -> None:
        """Count the batch and the time since the end of the one before."""
        self._seen_steps += 1
        if self._seen_steps > self.skip_steps:
            self.image_count += batch.image.shape[0]
            self.seconds += time.perf_counter() - self._last
            speed = self.image_count / self.seconds * trainer.world_size
            module.log(METRIC, speed, on_step=True, on_epoch=False, batch_size=1)
        self._restart()

    def on_test_start(self, *_: object) -> None:
        """Start counting anew."""
        self._test_ms = []

    def on_test_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: object, batch: Batch, *_: object
    ) -> None:
        """Note what each of the batch's images took."""
        seconds = time.perf_counter() - self._last
        self._test_ms.append(1000 * seconds / batch.image.shape[0])

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the median of this process's batches."""
        if self._test_ms:
            pl_module.log(TEST_METRIC, statistics.median(self._test_ms), batch_size=1)
