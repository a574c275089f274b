"""What stage 2 and all baselines share: tiles, one post-processing, the same metrics."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence

import torch
from lightning import LightningModule
from torch import Tensor

from datamodules.sample import Batch, Prediction
from datamodules.vocabulary import Vocabulary
from lightning_modules.evaluation import Evaluation
from lightning_modules.metrics.calibration import Calibration, CalibrationRule
from lightning_modules.nets.post_processing import (
    VERSION,
    ImageScores,
    PostProcessing,
    parse_operating_points,
)
from lightning_modules.nets.tiling import score_images, score_squares, score_whole
from lightning_modules.weights_io import STAMP, SavedStage, load_part, stamp


def check_closed_list(
    vocabulary: Vocabulary, *, known: Vocabulary | None, class_count: int
) -> None:
    """ValueError for another count of names than a net was built for, other than it knows, and for
    negatives, which it can't read.
    """
    if vocabulary.negatives:
        raise ValueError(
            f"got 'not {', '.join(vocabulary.negatives)}': this system has a closed list and reads "
            "no words; leave that out, or use a stage 2"
        )
    if known is not None and vocabulary.names != known.names:
        raise ValueError(
            f"got the names {', '.join(vocabulary.names[1:])}: this system has the closed list "
            f"{', '.join(known.names[1:])}; leave --labels out, or use a stage 2"
        )
    if len(vocabulary) != class_count:
        raise ValueError(
            f"the data has {len(vocabulary)} classes with good, the model {class_count}: set "
            f"model.init_args.class_count to {len(vocabulary)}"
        )


class SegmentationModule(LightningModule):
    """A model that scores tiles; prediction, evaluation and saving follow from that.

    `stage` is what its checkpoints are marked with; `sees_whole`: an image is brought to one square
    of tile_px instead of cut into tiles; `sees_any_size`: only one with a longer side is cut; tiles
    must be multiples of `stride`; `shapes_examples`: its regions differ from what people mark, so
    that examples are compared as it finds them. A validation after the fit leaves in `calibration`
    what thresholds.json will hold, chosen by `calibration_rule`; unless it `calibrates`, as for a
    system that saw no image, nothing moves.
    """

    stage: str
    sees_whole = False
    sees_any_size = False
    shapes_examples = False
    calibrates = True

    def __init__(
        self, tile_px: int, tile_overlap_px: int, tile_batch_size: int, *, stride: int = 1
    ) -> None:
        super().__init__()
        if tile_px % stride:
            raise ValueError(
                f"tile_px is {tile_px}: expected a multiple of {stride}, the net's coarsest stride"
            )
        self.tile_px = tile_px
        self.tile_overlap_px = tile_overlap_px
        self.tile_batch_size = tile_batch_size
        self.post_processing = PostProcessing()
        self.calibration_rule = CalibrationRule()
        self.calibration: Calibration | None = None
        self.evaluation: Evaluation | None = None
        self.vocabulary: Vocabulary | None = None
        # What names an image's regions anew, after its thresholds: in a test as for people.
        self.renaming: Callable[[Tensor, Prediction], Prediction] | None = None

    @property
    def naming(self) -> str:
        """What a name's score is (`nets/naming.py`); "" where names are a closed list."""
        return ""

    @property
    def learns_types(self) -> bool:
        """Whether training must show the types that are tested."""
        return any(one.requires_grad for one in self.parameters())

    @abstractmethod
    def score_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        """Type maps (T, K, s, s) in [0, 1] and answers (T, K+1) of tiles (T, 3, s, s)."""

    def tags(self) -> dict[str, str]:
        """What a table must say beside this model's figures; nothing here."""
        return {}

    def load(self) -> None:
        """Reads the weights of parts that name some; nothing here."""

    def store_frozen_in(self, dtype: torch.dtype) -> None:
        """Keeps the weights of frozen parts in `dtype` from now on; nothing here is frozen."""

    def measure(self, image: Tensor) -> None:
        """Fits fixed scales to training images (B, 3, H, W) in [-1, 1]; nothing here."""

    def check_processes(self, count: int) -> None:
        """ValueError for so many where the model can't be split; any number will do here."""

    def check_vocabulary(self, vocabulary: Vocabulary) -> None:
        """ValueError for names that the model cannot give; any list will do here."""

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Names masks from this list; ValueError as `check_vocabulary`, and for a list of none."""
        if len(vocabulary) == 1:
            raise ValueError(
                "the data names no defect, expected some to look for: use data with some"
            )
        self.check_vocabulary(vocabulary)
        self.vocabulary = vocabulary
        self.evaluation = Evaluation(vocabulary.names)
        self.post_processing.entries = vocabulary.entries

    def restore(self, saved: SavedStage) -> None:
        """Fills the model with what a checkpoint saved, the vocabulary too.

        Raises ValueError when the weights do not fit.
        """
        load_part(self, "", saved)
        self.set_vocabulary(Vocabulary(saved.entries))

    def look_at(self, images: Iterable[Tensor]) -> None:
        """Takes note of all images (3, H, W) that will be predicted, before any; nothing here."""

    def predict_images(self, images: Sequence[Tensor]) -> list[Prediction]:
        """The predictions for images (3, H, W) in [-1, 1] of any sizes, tile by tile or whole.

        The images may stay off the model's device, which then holds their bands of tiles alone.
        """
        found = [self.post_processing(one) for one in self.image_scores(images)]
        if self.renaming is None:
            return found
        return [self.renaming(*pair) for pair in zip(images, found, strict=True)]

    def image_scores(self, images: Sequence[Tensor]) -> list[ImageScores]:
        """The scores of images (3, H, W) in [-1, 1], before any threshold."""
        side_px, at_once = self.tile_px, self.tile_batch_size
        if self.sees_whole:
            return score_squares(images, self._score_here, side_px=side_px, batch_size=at_once)
        way = score_whole if self.sees_any_size else score_images
        overlap_px = self.tile_overlap_px
        return way(
            images, self._score_here, tile_px=side_px, overlap_px=overlap_px, batch_size=at_once
        )

    def _score_here(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        return self.score_tiles(tiles.to(self.device))

    def predict_image(self, image: Tensor) -> Prediction:
        """The prediction for one image (3, H, W) in [-1, 1] of any size."""
        return self.predict_images([image])[0]

    def predict_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        """One prediction per image of the batch."""
        return self.predict_images(list(batch.image))

    def validation_step(  # type: ignore[override]  # callbacks read the predictions
        self, batch: Batch, batch_idx: int
    ) -> list[Prediction]:
        """Predictions, counted into the validation metrics."""
        assert self.evaluation is not None
        return self.evaluation.count("val", self.predict_step(batch, batch_idx), batch)

    def on_validation_epoch_end(self) -> None:
        """Logs the metrics; after the fit the thresholds move to this split's best ones.

        Not within the fit: there the weights that validate are swapped in for the moment.
        """
        assert self.evaluation is not None and self.vocabulary is not None
        if self.trainer.state.fn == "validate":
            seen = self.evaluation if self.calibrates else Evaluation(self.vocabulary.names)
            found = seen.calibrate(self.calibration_rule, self.post_processing.points)
            self.calibration = found
            content = {"version": VERSION, **found.content()}
            self.post_processing.calibrate(parse_operating_points(content))
        self.evaluation.log(self, "val")

    def test_step(  # type: ignore[override]
        self, batch: Batch, batch_idx: int
    ) -> list[Prediction]:
        """Predictions, counted into the test metrics."""
        assert self.evaluation is not None
        return self.evaluation.count("test", self.predict_step(batch, batch_idx), batch)

    def on_test_epoch_end(self) -> None:
        """Logs the metrics of the test split."""
        assert self.evaluation is not None
        self.evaluation.log(self, "test")

    def on_save_checkpoint(self, checkpoint: dict[str, object]) -> None:
        """Marks the checkpoint as ours and keeps the vocabulary beside the weights."""
        assert self.vocabulary is not None
        checkpoint[STAMP] = stamp(self.stage, self.vocabulary.entries)
