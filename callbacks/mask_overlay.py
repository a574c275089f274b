"""Shows what the masks look like: image, truth and prediction with names, after each evaluation."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from callbacks.drawing import (
    GREY,
    Color,
    Panel,
    draw_grid,
    draw_overlay,
    pixels_of,
    resize_picture,
    scale_to_fit,
    tags_of_instances,
    tags_of_map,
)
from callbacks.picture_log import keep_picture
from datamodules.sample import GOOD_ID, Batch, Instance, Prediction

RIGHT: Color = (24, 128, 72)
WRONG: Color = (196, 44, 44)
POOL_FACTOR = 8


class Named(Protocol):
    """Class names in id order, good first."""

    @property
    def names(self) -> Sequence[str]:
        """The names."""
        ...


class NamesDefects(Protocol):
    """What MaskOverlay needs of a module; its evaluation steps return list[Prediction]."""

    @property
    def vocabulary(self) -> Named:
        """The classes that its label maps speak of."""
        ...


@dataclass(frozen=True, slots=True)
class Shown:
    """One evaluated image, brought to the CPU for drawing."""

    image: np.ndarray
    truth: np.ndarray
    has_mask: bool
    true_type: int
    row: int
    label_map: np.ndarray
    instances: list[Instance]
    type_id: int
    image_score: float


class MaskOverlay(Callback):
    """Writes `pictures/masks_<val|test>_<step>.png` and logs it, after each evaluation.

    It takes the first images of each defect type in turn, good parts last.
    """

    def __init__(
        self, image_count: int = 6, *, every_n_epochs: int = 1, side_px: int = 288
    ) -> None:
        """image_count: rows of the picture; side_px: length of each image's longer side there."""
        super().__init__()
        self.image_count = image_count
        self.every_n_epochs = every_n_epochs
        self.side_px = side_px
        self._shown: dict[int, list[Shown]] = {}

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets the images of the last evaluation."""
        self._shown.clear()

    def on_test_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forgets the images of the last evaluation."""
        self._shown.clear()

    def on_validation_batch_end(  # noqa: D102 - Lightning's hook
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if self._is_due(trainer):
            self._collect(outputs, batch)

    def on_test_batch_end(  # noqa: D102 - Lightning's hook
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: Batch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if trainer.is_global_zero:
            self._collect(outputs, batch)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws, saves and logs what was collected."""
        self._keep(trainer, pl_module, split="val")

    def on_test_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Draws, saves and logs what was collected."""
        self._keep(trainer, pl_module, split="test")

    def _is_due(self, trainer: Trainer) -> bool:
        """Whether this validation is one to show."""
        is_turn = (trainer.current_epoch + 1) % self.every_n_epochs == 0
        return trainer.is_global_zero and not trainer.sanity_checking and is_turn

    def _collect(self, outputs: object, batch: Batch) -> None:
        """Keeps a few images of each type; ValueError when the step returned no predictions."""
        if not isinstance(outputs, list):
            raise ValueError(
                f"MaskOverlay got {type(outputs).__name__} from the step: expected "
                "list[Prediction]; leave MaskOverlay out for this module"
            )
        for index, prediction in enumerate(outputs):
            if sum(map(len, self._shown.values())) >= POOL_FACTOR * self.image_count:
                return
            class_ids = batch.class_ids[index]
            of_type = self._shown.setdefault(class_ids[0] if class_ids else GOOD_ID, [])
            if len(of_type) < self.image_count:
                of_type.append(bring_to_cpu(prediction, batch, index))

    def _keep(self, trainer: Trainer, pl_module: LightningModule, *, split: str) -> None:
        """Draws the picture if anything was collected."""
        chosen = choose_in_turn(self._shown, self.image_count)
        self._shown.clear()
        if not chosen:
            return
        names = cast(NamesDefects, pl_module).vocabulary.names
        panels = [panel for one in chosen for panel in mask_row(one, names, self.side_px)]
        header = ("image", "truth", "prediction")
        title = f"{split}, step {trainer.global_step}"
        picture = draw_grid(panels, columns=3, title=title, header=header)
        keep_picture(trainer, picture, key=f"masks_{split}")


def bring_to_cpu(prediction: Prediction, batch: Batch, index: int) -> Shown:
    """What is drawn of one image of the batch, as small arrays."""
    class_ids = batch.class_ids[index]
    return Shown(
        image=pixels_of(batch.image[index]),
        truth=batch.mask[index].cpu().numpy().astype(np.int32),
        has_mask=bool(batch.has_mask[index]),
        true_type=class_ids[0] if class_ids else GOOD_ID,
        row=int(batch.row[index]),
        label_map=prediction.label_map.cpu().numpy().astype(np.int32),
        instances=prediction.instances,
        type_id=prediction.type_id,
        image_score=prediction.image_score,
    )


def choose_in_turn(of_type: dict[int, list[Shown]], count: int) -> list[Shown]:
    """Up to `count` images: one of each defect type, then another of each; good ones at the end."""
    defects = [of_type[type_id] for type_id in sorted(of_type) if type_id != GOOD_ID]
    longest = max(map(len, defects), default=0)
    ordered = [images[turn] for turn in range(longest) for images in defects if turn < len(images)]
    return (ordered + of_type.get(GOOD_ID, []))[:count]


def mask_row(one: Shown, names: Sequence[str], side_px: int) -> list[Panel]:
    """Three panels: the image, the truth and the prediction, longer side `side_px`."""
    scale = scale_to_fit(one.image, side_px)
    plain = resize_picture(one.image, scale)
    truth = draw_overlay(one.image, one.truth, tags_of_map(one.truth, names), scale=scale)
    tags = tags_of_instances(one.instances, names)
    predicted = draw_overlay(one.image, one.label_map, tags, scale=scale)
    is_right = one.type_id == one.true_type
    answer = f"{names[one.type_id]}, defective {one.image_score:.2f}"
    return [
        Panel(plain, f"row {one.row}", GREY),
        Panel(truth, names[one.true_type] + ("" if one.has_mask else " (no mask)")),
        Panel(predicted, answer, RIGHT if is_right else WRONG),
    ]
