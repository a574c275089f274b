"""Images that a run writes and logs: generated samples, masks with names, charts of the test.

How they are drawn is in `drawing.py` and `charts.py`; here is when, and of what.
"""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning import LightningModule, Trainer
from lightning.fabric.utilities import move_data_to_device
from lightning.pytorch.callbacks import Callback
from PIL import Image
from torch import Tensor

from callbacks.charts import (
    draw_confusion,
    draw_precision_recall,
    draw_reliability,
    draw_types,
    pixels_of_figure,
)
from callbacks.drawing import (
    GREY,
    Color,
    Panel,
    draw_grid,
    draw_overlay,
    join_side_by_side,
    pixels_of,
    resize_image,
    scale_to_fit,
    tags_of_instances,
    tags_of_map,
)
from datamodules.sample import GOOD_ID, Batch, Prediction
from datamodules.whole_files import whole

logger = logging.getLogger(__name__)

RIGHT: Color = (24, 128, 72)
WRONG: Color = (196, 44, 44)
CPU = torch.device("cpu")
SAMPLE_SIDE_PX, MASK_SIDE_PX = 224, 288  # of an image's longer side


@runtime_checkable
class ImageLogger(Protocol):
    """A logger that takes images beside metrics."""

    def log_image(self, path: Path, *, key: str, step: int) -> None:
        """Send an image file, one of several of this key."""


def keep_image(trainer: Trainer, image: np.ndarray, *, key: str) -> Path:
    """The path `images/<key>_<step>.png` under the run directory, written and logged to MLflow.

    image: (H, W, 3) uint8. A full disk is warned of.
    """
    step = trainer.global_step
    path = Path(trainer.default_root_dir) / "images" / f"{key}_{step}.png"
    try:
        with whole(path) as unfinished:
            Image.fromarray(image).save(unfinished, format="PNG")
    except OSError as error:
        logger.warning("image %s could not be written, training goes on: %s", path, error)
        return path
    for tracker in trainer.loggers:
        if isinstance(tracker, ImageLogger):
            tracker.log_image(path, key=key, step=step)
    return path


class SampleGrid(Callback):
    """Writes `images/samples_<step>.png`: generated beside real images, with their captions.

    Captions and real images are spread over the validation split, where images of one source stand
    together. It draws before the last validation batch ends, while averaged weights (`ema.py`) are
    in place whatever the order of callbacks, and once more at the end of training, always of the
    same noise, so that images of two epochs compare. The module has `generate(captions, seed=...,
    steps=...)`, which returns images (B, 3, H, W) in [-1, 1].
    """

    def __init__(
        self, image_count: int = 8, *, every_n_epochs: int = 10, sampling_steps: int = 50
    ) -> None:
        self.image_count = image_count
        self.every_n_epochs = every_n_epochs
        self.sampling_steps = sampling_steps
        self._examples: list[tuple[Tensor, str]] = []
        self._last_step = -1

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Keep some of the batch; draw after the last one, where it is the epoch's turn."""
        if not trainer.is_global_zero or trainer.sanity_checking:
            return
        batch_count = trainer.num_val_batches[dataloader_idx]
        wanted = math.ceil(self.image_count * (batch_idx + 1) / batch_count)
        missing = max(0, wanted - len(self._examples))
        self._examples += zip(batch.image[:missing].cpu(), batch.captions[:missing], strict=True)
        is_last = batch_idx == batch_count - 1
        if is_last and (trainer.current_epoch + 1) % self.every_n_epochs == 0:
            self._draw(trainer, pl_module)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw the trained module's samples, unless the last validation just did."""
        if trainer.is_global_zero and trainer.global_step != self._last_step:
            self._draw(trainer, pl_module)

    @torch.no_grad()
    def _draw(self, trainer: Trainer, module: LightningModule) -> None:
        if not self._examples:
            return
        self._last_step = trainer.global_step
        captions = [caption for _, caption in self._examples]
        generated: Tensor = module.generate(  # type: ignore[operator]
            captions, seed=0, steps=self.sampling_steps
        )
        panels = []
        for (real, caption), image in zip(self._examples, generated, strict=True):
            pixels = [pixels_of(real), pixels_of(image)]
            scaled = [resize_image(one, scale_to_fit(one, SAMPLE_SIDE_PX)) for one in pixels]
            panels.append(Panel(join_side_by_side(scaled), caption))
        title = f"real (left) and generated (right), step {trainer.global_step}"
        keep_image(trainer, draw_grid(panels, columns=2, title=title), key="samples")


@dataclass(frozen=True, slots=True)
class Example:
    """One evaluated image (3, H, W) with its label map (H, W) and what was predicted."""

    image: Tensor
    truth: Tensor
    has_mask: bool
    true_type: int
    row: int
    prediction: Prediction


class MaskOverlay(Callback):
    """Writes `images/masks_<val|test>_<step>.png`: image, truth and prediction with names.

    It takes the first images of each defect type in turn, good parts last. The module has a
    `vocabulary` with `names`, and its evaluation steps return list[Prediction]. image_count: rows.
    """

    def __init__(self, image_count: int = 6, *, every_n_epochs: int = 1) -> None:
        self.image_count = image_count
        self.every_n_epochs = every_n_epochs
        self._examples: dict[int, list[Example]] = {}

    def on_validation_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: object, batch: Batch, *_: object
    ) -> None:
        """Keep a few images of each type, where it is the epoch's turn or a test.

        ValueError when the step returned no predictions.
        """
        is_turn = trainer.testing or (trainer.current_epoch + 1) % self.every_n_epochs == 0
        if not trainer.is_global_zero or trainer.sanity_checking or not is_turn:
            return
        if not isinstance(outputs, list):
            raise ValueError(
                f"MaskOverlay got {type(outputs).__name__} from the step: expected "
                "list[Prediction]; leave MaskOverlay out for this module"
            )
        for index, prediction in enumerate(outputs):
            true_type = (*batch.class_ids[index], GOOD_ID)[0]
            of_type = self._examples.setdefault(true_type, [])
            if len(of_type) < self.image_count:
                # Not to keep whole batches in the memory of a GPU.
                image, truth, kept = move_data_to_device(
                    (batch.image[index].clone(), batch.mask[index].clone(), prediction), CPU
                )
                has_mask, row = bool(batch.has_mask[index]), int(batch.row[index])
                of_type.append(Example(image, truth, has_mask, true_type, row, kept))

    on_test_batch_end = on_validation_batch_end  # type: ignore[assignment]

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, save and log what was collected."""
        chosen = choose_in_turn(self._examples, self.image_count)
        self._examples.clear()
        if chosen:
            split = "test" if trainer.testing else "val"
            names: Sequence[str] = pl_module.vocabulary.names  # type: ignore
            panels = [panel for one in chosen for panel in mask_row(one, names)]
            header = ("image", "truth", "prediction")
            title = f"{split}, step {trainer.global_step}"
            image = draw_grid(panels, columns=3, title=title, header=header)
            keep_image(trainer, image, key=f"masks_{split}")

    on_test_epoch_end = on_validation_epoch_end


def choose_in_turn(of_type: dict[int, list[Example]], count: int) -> list[Example]:
    """Up to `count` images: one of each defect type, then another of each; good ones at the end."""
    defects = [of_type[type_id] for type_id in sorted(of_type) if type_id != GOOD_ID]
    ordered = [one for turn in zip_longest(*defects) for one in turn if one is not None]
    return (ordered + of_type.get(GOOD_ID, []))[:count]


def mask_row(one: Example, names: Sequence[str]) -> list[Panel]:
    """Three panels: the image, the truth and the prediction."""
    pixels, answer = pixels_of(one.image), one.prediction
    truth, predicted = (ids.numpy().astype(np.int32) for ids in (one.truth, answer.label_map))
    scale = scale_to_fit(pixels, MASK_SIDE_PX)
    true_tags, tags = tags_of_map(truth, names), tags_of_instances(answer.instances, names)
    words = f"{names[answer.type_id]}, defective {answer.image_score:.2f}"
    return [
        Panel(resize_image(pixels, scale), f"row {one.row}", GREY),
        Panel(
            draw_overlay(pixels, truth, true_tags, scale=scale),
            names[one.true_type] + ("" if one.has_mask else " (no mask)"),
        ),
        Panel(
            draw_overlay(pixels, predicted, tags, scale=scale),
            words,
            RIGHT if answer.type_id == one.true_type else WRONG,
        ),
    ]


class EvaluationCharts(Callback):
    """Writes `images/confusion_<step>.png`, `types_...`, `precision_recall_...` and
    `reliability_...` at test, of the `Curves` in `lightning_modules/evaluation.py`.
    """

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draw, save and log; comes before the module computes its figures and forgets."""
        # On every process: the curves are gathered from all of them.
        curves: Any = pl_module.evaluation.curves("test")  # type: ignore[union-attr, operator]
        if not trainer.is_global_zero:
            return
        charts = {
            "confusion": draw_confusion(curves.names, curves.confusion),
            "types": draw_types(curves.names, curves.confusion),
            "precision_recall": draw_precision_recall(curves.precision_recall),
            "reliability": draw_reliability(curves.reliability),
        }
        for key, figure in charts.items():
            keep_image(trainer, pixels_of_figure(figure), key=key)
