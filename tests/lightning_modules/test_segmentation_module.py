"""Holds what tiled models share: when thresholds move, and that they belong to names."""

from pathlib import Path

import torch
from lightning import Trainer
from torch import Tensor, nn
from torch.utils.data import DataLoader

from datamodules.sample import Batch
from datamodules.vocabulary import Vocabulary
from lightning_modules.segmentation_module import SegmentationModule
from tests.lightning_modules.small_parts import NAMES, SIDE_PX, defect_batch


class Contrast(SegmentationModule):
    """Bright pixels are cracks, dark ones stains; trains one number that nothing depends on."""

    stage = "contrast"

    def __init__(self) -> None:
        super().__init__(tile_px=SIDE_PX, tile_overlap_px=0, tile_batch_size=4)
        self.number = nn.Parameter(torch.zeros(()))
        self.set_vocabulary(Vocabulary.from_names(NAMES))

    def score_tiles(self, tiles: Tensor) -> tuple[Tensor, Tensor]:
        level = tiles.mean(dim=1).clamp(-1, 1)
        maps = torch.stack([level.clamp(min=0), (-level).clamp(min=0)], dim=1)
        best = maps.flatten(2).amax(-1)
        answer = torch.cat([1 - best.amax(-1, keepdim=True), best], dim=-1)
        return maps, answer / answer.sum(-1, keepdim=True)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        return self.number**2

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD([self.number], lr=0.1)


def trainer(folder: Path) -> Trainer:
    return Trainer(
        accelerator="cpu",
        max_epochs=1,
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def images() -> DataLoader[Batch]:
    return DataLoader([defect_batch()], batch_size=None)  # type: ignore[arg-type]


def test_validation_after_the_fit_moves_the_thresholds(tmp_path: Path) -> None:
    model = Contrast()
    trainer(tmp_path).validate(model, images(), verbose=False)
    assert model.calibration is not None
    assert model.post_processing.points.image == model.calibration.image.threshold != 0.5


def test_validation_within_the_fit_leaves_the_thresholds(tmp_path: Path) -> None:
    model = Contrast()
    trainer(tmp_path).fit(model, images(), images())
    assert model.calibration is None
    assert model.post_processing.points.image == 0.5
