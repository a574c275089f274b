"""Shows what stage 1 has learnt: generated beside real images, with the captions they share."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol, cast

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn

from callbacks.drawing import (
    Panel,
    draw_grid,
    join_side_by_side,
    pixels_of,
    resize_picture,
    scale_to_fit,
)
from callbacks.picture_log import keep_picture
from datamodules.sample import Batch


class Generates(Protocol):
    """What SampleGrid needs of a module."""

    def generate(self, captions: list[str], *, seed: int, steps: int) -> Tensor:
        """Images (B, 3, H, W) in [-1, 1], one per caption."""
        ...


class SampleGrid(Callback):
    """Writes `pictures/samples_<step>.png` and logs it, every few validations and at the end.

    The captions and real images are spread over the validation split, where pictures of one source
    stand together, or those of the first training batch where nothing is validated. Drawing is
    done before the last validation batch ends, while averaged weights (`ema.py`) are still in
    place, whatever the order of callbacks.
    """

    def __init__(
        self,
        image_count: int = 8,
        *,
        every_n_epochs: int = 10,
        sampling_steps: int = 50,
        seed: int = 0,
        side_px: int = 224,
    ) -> None:
        """seed: of the noise, the same each time, so that pictures of two epochs compare."""
        super().__init__()
        self.image_count = image_count
        self.every_n_epochs = every_n_epochs
        self.sampling_steps = sampling_steps
        self.seed = seed
        self.side_px = side_px
        self._real: list[Tensor] = []
        self._captions: list[str] = []
        self._is_from_training = False
        self._last_step = -1

    def on_train_batch_end(  # noqa: D102 - Lightning's hook
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
    ) -> None:
        # Cached latents come without pixels: nothing to set beside a generated image.
        if trainer.is_global_zero and not self._captions and batch.image.numel():
            self._is_from_training = True
            self._collect(batch, self.image_count)

    def on_validation_batch_end(  # noqa: D102 - Lightning's hook
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        if self._is_from_training:
            self._is_from_training = False
            self._real.clear()
            self._captions.clear()
        batch_count = trainer.num_val_batches[dataloader_idx]
        self._collect(batch, math.ceil(self.image_count * (batch_idx + 1) / batch_count))
        is_last = batch_idx == batch_count - 1
        if is_last and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._keep(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws the trained module's samples, unless the last validation just did."""
        if trainer.is_global_zero and trainer.global_step != self._last_step:
            self._keep(trainer, pl_module)

    def _collect(self, batch: Batch, wanted: int) -> None:
        """Keeps captions and images until there are so many."""
        missing = wanted - len(self._captions)
        if missing > 0:
            self._captions += batch.captions[:missing]
            self._real += list(batch.image[:missing].cpu())

    def _keep(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Generates, draws, saves and logs."""
        if not self._captions:
            return
        self._last_step = trainer.global_step
        with evaluating(pl_module):
            generated = cast(Generates, pl_module).generate(
                self._captions, seed=self.seed, steps=self.sampling_steps
            )
        panels = [
            pair_panel(real, image, caption, self.side_px)
            for real, image, caption in zip(self._real, generated, self._captions, strict=True)
        ]
        title = f"real (left) and generated (right), step {trainer.global_step}"
        picture = draw_grid(panels, columns=2, title=title)
        keep_picture(trainer, picture, key="samples")


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode without gradients inside; each part's own mode is restored after."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def pair_panel(real: Tensor, generated: Tensor, caption: str, side_px: int) -> Panel:
    """The real and the generated image (3, H, W) in [-1, 1] side by side over their caption."""
    pictures = [pixels_of(image) for image in (real, generated)]
    scaled = [resize_picture(p, scale_to_fit(p, side_px)) for p in pictures]
    return Panel(join_side_by_side(scaled), caption)
