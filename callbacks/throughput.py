"""What a run costs: its speed in training and test, its minutes, its memory."""

import resource
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from typing import Protocol, cast

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

from datamodules.sample import Batch

METRIC = "perf/images_per_s"
TEST_METRIC = "perf/test_ms_per_image"
MINUTES_METRIC = "perf/train_minutes"
MEMORY_METRIC = "perf/peak_memory_mb"
TIMED_IMAGES = 8


class Predicts(Protocol):
    """What a module that is tested can do."""

    def look_at(self, images: Iterable[Tensor]) -> None:
        """Looks at all images (3, H, W) before the first is asked about."""

    def predict_images(self, images: Sequence[Tensor]) -> object:
        """The predictions for images (3, H, W) in [-1, 1]."""


class Throughput(Callback):
    """Logs `perf/images_per_s`: images of all processes per second since the first steps, waiting
    for data included and validation left out; `perf/train_minutes` since it began or went on;
    after the test `perf/test_ms_per_image`: what the model alone takes for one of the first eight
    images of the test, after a first one that does not count, on one thread, the median; and
    `perf/peak_memory_mb`, the most that the process of the test has taken of the accelerator, or
    else of the machine, with its training where it trained.

    skip_steps: steps at the start that are not counted, because caches fill and kernels compile.
    """

    def __init__(self, skip_steps: int = 10) -> None:
        self.skip_steps = skip_steps
        self.image_count = self._seen_steps = 0
        self.seconds = self._last = self._began = 0.0
        self._timed: list[Tensor] = []

    def on_train_start(self, *_: object) -> None:
        """Start counting anew."""
        self.image_count = self._seen_steps = 0
        self.seconds = 0.0
        self._began = time.perf_counter()

    def _restart(self, *_: object) -> None:
        self._last = time.perf_counter()

    # What lies between epochs, and the validation, is left out.
    on_train_epoch_start = on_validation_end = _restart  # type: ignore[assignment]

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

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the minutes up to here."""
        minutes = (time.perf_counter() - self._began) / 60
        pl_module.log(MINUTES_METRIC, minutes, batch_size=1)

    def on_test_start(self, *_: object) -> None:
        """Start anew."""
        self._timed = []

    def on_test_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: object, batch: Batch, *_: object
    ) -> None:
        """Keep the first images."""
        self._timed += batch.image[: TIMED_IMAGES - len(self._timed)]

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log what the model takes for the images that were kept."""
        if self._timed:
            with trainer.precision_plugin.forward_context():
                took_ms = time_alone(cast(Predicts, pl_module), self._timed)
            pl_module.log(TEST_METRIC, took_ms, batch_size=1)
        pl_module.log(MEMORY_METRIC, peak_memory_mb(pl_module.device), batch_size=1)


def time_alone(module: Predicts, images: Sequence[Tensor]) -> float:
    """Milliseconds that one image takes on one thread, warmed up by the first: the median.

    With its share of the look at all of them, which a system takes that scores some by others.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        module.look_at(images)
        module.predict_images(images[:1])
        began = time.perf_counter()
        module.look_at(images)
        looked_s = (time.perf_counter() - began) / len(images)
        took_s = []
        for image in images:
            began = time.perf_counter()
            module.predict_images([image])
            took_s.append(time.perf_counter() - began)
    finally:
        torch.set_num_threads(threads)
    return 1000 * (looked_s + statistics.median(took_s))


def peak_memory_mb(device: torch.device) -> float:
    """The most that this process has taken: of a CUDA device by tensors, or of the machine."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    # In kilobytes, of Apple's systems in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit
