"""What systems share that learn from good parts, or from nothing: how odd each place is, no names.

From their scores on a Prediction comes about as stage 2's does (`segmentation_module.py`).
"""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import replace
from typing import cast

import torch
from lightning.pytorch.utilities.types import STEP_OUTPUT, OptimizerLRScheduler
from torch import Tensor, nn

from datamodules.sample import Batch
from datamodules.vocabulary import GOOD_WORDS, Vocabulary
from lightning_modules.metrics.calibration import BALANCED, FALSE_ALARM_RATE, Objective
from lightning_modules.nets.post_processing import OperatingPoints, TypeThresholds
from lightning_modules.segmentation_module import SegmentationModule
from lightning_modules.weights_io import SavedStage

DEFECT = "defect"
DEFECT_ID = 1
# Good images whose scores set where 0.5 is.
SHOWN_IMAGES = 16
QUANTILE, PIXEL_QUANTILE = 0.95, 0.99
FEW_FALSE_ALARMS = Objective(FALSE_ALARM_RATE, 1 - QUANTILE)
# A map's slopes are wide: a region ends where the score is half of its peak.
EXTENT_SHARE = 0.5
# A score of the middle place of good images becomes sigmoid(-4), 0.02.
STEPS_TO_MIDDLE = 4.0
# What an epoch had collected, in a checkpoint from its middle.
COLLECTED_KEY = "collected"


class AnomalyModule(SegmentationModule):
    """A model that says how odd places are; whatever the data's types, it knows one, `defect`.

    An image is seen whole, brought to a square of `image_size_px`. Raw scores, of any unit, become
    [0, 1] by a curve (`to_unit`): 0.5 is what 95 % of the first good training images stay under.
    Thresholds are calibrated; where no validation image has a defect, 95 % of them are good, and
    regions begin at what 99 % of the first images' places stay under.
    Training shows good images alone and runs no optimizer, unless a subclass brings some. What it
    collects over an epoch, in the lists that `collected` names, a checkpoint from its middle holds.
    """

    # Of the map and of the image's score: (score at 0.5, width) each.
    map_curve: Tensor
    image_curve: Tensor
    # Where a region begins, in [0, 1]; whether there is one is the peak's matter.
    pixel_threshold: Tensor

    collected: tuple[str, ...] = ("_shown",)
    sees_whole = True
    shapes_examples = True

    def __init__(self, image_size_px: int, batch_size: int = 8, *, stride: int = 1) -> None:
        super().__init__(image_size_px, 0, batch_size)
        if image_size_px % stride:
            raise ValueError(
                f"image_size_px is {image_size_px}: expected a multiple of {stride}, the net's "
                "coarsest stride"
            )
        self.automatic_optimization = False
        # The score of an image is what `score` says; a blurred map's peak has no part in it.
        self.post_processing.peak_share, self.post_processing.extent_share = 0.0, EXTENT_SHARE
        for name in ("map_curve", "image_curve"):
            self.register_buffer(name, torch.tensor([0.0, 1.0]))
        self.register_buffer("pixel_threshold", torch.tensor(0.5))
        self.register_load_state_dict_pre_hook(add_pixel_threshold)
        self._shown: list[Tensor] = []
        self._loaded: dict[str, list[list[Tensor]]] = {}

    @abstractmethod
    def score(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Raw maps (B, s, s) and image scores (B,), high where odd, of images (B, 3, s, s)."""

    @property
    def learns_types(self) -> bool:
        """Good parts have none."""
        return False

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Takes any names and keeps one for all."""
        super().set_vocabulary(Vocabulary((GOOD_WORDS, (DEFECT,))))

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """The batch with its types made one."""
        ids: list[tuple[int, ...]] = [(DEFECT_ID,) if one else () for one in batch.class_ids]
        return replace(batch, mask=batch.mask.clamp(max=DEFECT_ID), class_ids=ids)

    def restore(self, saved: SavedStage) -> None:
        """As everywhere; regions begin where training has found that they do."""
        super().restore(saved)
        self._begin_regions()

    def _begin_regions(self) -> None:
        points = OperatingPoints(TypeThresholds(float(self.pixel_threshold), alarm=0.5))
        self.post_processing.calibrate(points)

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """As everywhere, and what this epoch has collected so far, of all processes."""
        super().on_save_checkpoint(checkpoint)
        if self._shown:
            checkpoint[COLLECTED_KEY] = {
                name: [self._of_each_process(one) for one in getattr(self, name)]
                for name in self.collected
            }

    def _of_each_process(self, value: Tensor) -> list[Tensor]:
        gather = cast(Callable[[Tensor], Tensor], self.all_gather)
        return list(gather(value).reshape(-1, *value.shape))

    def on_load_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Keeps what the epoch under way had collected until training goes on."""
        self._loaded = cast(dict[str, list[list[Tensor]]], checkpoint.get(COLLECTED_KEY, {}))

    def on_train_start(self) -> None:
        """Goes on as a checkpoint says; of what was collected each process takes its share."""
        self._begin_regions()
        for name, values in self._loaded.items():
            whole = [one.to(self.device) for processes in values for one in processes]
            setattr(self, name, whole[self.global_rank :: self.trainer.world_size])
        self._loaded = {}

    def on_train_epoch_start(self) -> None:
        """Begins to look at good images anew."""
        self._forget()

    def _forget(self) -> None:
        for name in self.collected:
            setattr(self, name, [])

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Keeps the first images.

        ValueError for a defect, which would become good, and for squares of another size than the
        tested ones, which would be of another sharpness.
        """
        if any(batch.class_ids):
            raise ValueError(
                f"a training image shows a defect, and {type(self).__name__} takes all for good: "
                "set data.init_args.train_on to good"
            )
        if batch.image.shape[-2:] != (self.tile_px, self.tile_px):
            height, width = batch.image.shape[-2:]
            raise ValueError(
                f"training images have {height} x {width} px and the model's image_size_px is "
                f"{self.tile_px}, expected one size: set data.init_args.train_transform to a "
                f"WholeSquare of {self.tile_px} px"
            )
        self._shown += self.comparable(batch)[: max(0, SHOWN_IMAGES - len(self._shown))]

    def comparable(self, batch: Batch) -> list[Tensor]:
        """The images of a batch that may set the curves."""
        return list(batch.image)

    def training_step(self, batch: Batch, batch_idx: int) -> STEP_OUTPUT:
        """Nothing to learn but the curves."""
        return None

    def on_train_batch_end(self, outputs: STEP_OUTPUT, batch: Batch, batch_idx: int) -> None:
        """Learns from the epoch once it is over, before a validation."""
        if self.trainer.is_last_batch:
            self.learn_from_epoch()
            self._forget()

    def on_train_epoch_end(self) -> None:
        """Learns from an epoch in whose middle training ends."""
        if self._shown:
            self.learn_from_epoch()
            self._forget()

    def learn_from_epoch(self) -> None:
        """Sets the curves by what the images kept now score, the same on every process."""
        maps, scores = self.score_shown()
        gather = cast(Callable[[Tensor], Tensor], self.all_gather)
        peaks, scores = (gather(one).flatten() for one in (maps.amax((1, 2)), scores))
        middle = gather(maps.median()).mean()
        self.map_curve, self.image_curve = (fit_curve(one, middle) for one in (peaks, scores))
        begin = gather(maps[:, ::4, ::4].quantile(PIXEL_QUANTILE)).mean()
        self.pixel_threshold = to_unit(begin, self.map_curve)
        self._begin_regions()

    @torch.no_grad()
    def score_shown(self) -> tuple[Tensor, Tensor]:
        """What `score` says of the good images that were kept."""
        was_training = self.training
        self.eval()
        pairs = [self.score(image[None]) for image in self._shown]
        self.train(was_training)
        maps, scores = zip(*pairs, strict=True)
        return torch.cat(maps), torch.cat(scores)

    def on_validation_epoch_end(self) -> None:
        """As everywhere; but without a defect among the images, by their false alarms."""
        assert self.evaluation is not None
        asked = self.calibration_rule
        if asked.objective == BALANCED and not self.evaluation.has_defects("val"):
            self.calibration_rule = replace(asked, objective=FEW_FALSE_ALARMS)
        super().on_validation_epoch_end()
        self.calibration_rule = asked

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """None: nothing here learns by gradients."""
        return None

    @torch.no_grad()
    def score_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Maps (T, 1, s, s) of `defect` and answers (T, 2) of whole images (T, 3, s, s)."""
        maps, scores = self.score(tiles)
        defective, maps = to_unit(scores, self.image_curve), to_unit(maps, self.map_curve)
        return maps[:, None], torch.stack([1 - defective, defective], dim=1)


def add_pixel_threshold(
    module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object
) -> None:
    """Lets checkpoints load that do not hold the threshold yet."""
    assert isinstance(module, AnomalyModule)
    state.setdefault(prefix + "pixel_threshold", module.pixel_threshold)


def to_unit(scores: Tensor, curve: Tensor) -> Tensor:
    """Raw scores, any shape, in [0, 1] by a curve of `fit_curve`.

    A logistic function, but above 0.5 it nears 1 so slowly that the oddest places still differ.
    """
    steps = (scores - curve[0]) / curve[1]
    return torch.sigmoid(torch.where(steps > 0, steps.clamp_min(0).log1p(), steps))


def fit_curve(scores: Tensor, middle: Tensor) -> Tensor:
    """Middle and width (2,) of the curve by which `scores` (N,) of good images stay under 0.5.

    middle: the score of an ordinary place, which comes out at sigmoid(-4).
    """
    half = torch.quantile(scores.float(), QUANTILE)
    width = (half - middle).clamp_min(1e-6 * half.abs() + 1e-12) / STEPS_TO_MIDDLE
    return torch.stack([half, width]).to(scores)
