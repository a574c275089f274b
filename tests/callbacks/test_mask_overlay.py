"""Holds which images MaskOverlay shows, and when, in Lightning's own loops."""

from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from PIL import Image
from torch.utils.data import DataLoader

from callbacks.mask_overlay import MaskOverlay, Shown, bring_to_cpu, choose_in_turn
from datamodules.sample import Batch, Prediction, Sample, collate
from datamodules.vocabulary import Vocabulary

SAMPLES = [
    Sample(
        image=torch.zeros(3, 24, 32),
        mask=torch.zeros(24, 32, dtype=torch.int64).index_fill(0, torch.arange(4), type_id),
        has_mask=True,
        caption="",
        class_ids=(type_id,) if type_id else (),
        row=row,
    )
    for row, type_id in enumerate([0, 0, 1, 1, 1, 2])
]


def answer(type_id: int) -> Prediction:
    labels = torch.zeros(24, 32, dtype=torch.int64)
    return Prediction(labels, labels.float(), 0.3, torch.ones(3) / 3, type_id, labels)


class Answers(LightningModule):
    """Answers good for everything; trains one number."""

    def __init__(self) -> None:
        super().__init__()
        self.vocabulary = Vocabulary.from_names(["crack", "stain"])
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        return self.weight**2

    def validation_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        return [answer(0) for _ in batch.captions]

    def test_step(self, batch: Batch, batch_idx: int) -> list[Prediction]:
        return [answer(0) for _ in batch.captions]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def loader() -> DataLoader[Sample]:
    return DataLoader(SAMPLES, batch_size=1, collate_fn=collate)  # type: ignore[arg-type]


def trainer_with(callback: MaskOverlay, folder: Path, **settings: int) -> Trainer:
    return Trainer(
        default_root_dir=folder,
        callbacks=[callback],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
        **settings,
    )


def pictures_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("pictures/*.png"))


def test_each_validation_writes_one_picture_and_the_sanity_check_none(tmp_path: Path) -> None:
    trainer = trainer_with(MaskOverlay(), tmp_path, max_epochs=2)
    trainer.fit(Answers(), loader(), loader())
    assert pictures_in(tmp_path) == ["masks_val_12.png", "masks_val_6.png"]


def test_validations_between_turns_write_nothing(tmp_path: Path) -> None:
    trainer = trainer_with(MaskOverlay(every_n_epochs=2), tmp_path, max_epochs=3)
    trainer.fit(Answers(), loader(), loader())
    assert pictures_in(tmp_path) == ["masks_val_12.png"]


def test_the_test_writes_a_picture_of_its_own(tmp_path: Path) -> None:
    trainer_with(MaskOverlay(image_count=2), tmp_path).test(Answers(), loader(), verbose=False)
    assert pictures_in(tmp_path) == ["masks_test_0.png"]
    width, height = Image.open(tmp_path / "pictures" / "masks_test_0.png").size
    assert width > 3 * 288
    assert height > 2 * 216


def shown(row: int) -> Shown:
    return bring_to_cpu(answer(0), collate([SAMPLES[row]]), 0)


def test_defects_come_before_good_parts_and_types_take_turns() -> None:
    of_type = {0: [shown(0), shown(1)], 1: [shown(2), shown(3), shown(4)], 2: [shown(5)]}
    assert [one.row for one in choose_in_turn(of_type, 3)] == [2, 5, 3]
    assert [one.row for one in choose_in_turn(of_type, 9)] == [2, 5, 3, 4, 0, 1]


def test_a_step_without_predictions_is_refused(tmp_path: Path) -> None:
    class Silent(Answers):
        def test_step(self, batch: Batch, batch_idx: int) -> None:  # type: ignore[override]
            return None

    with pytest.raises(ValueError, match="MaskOverlay got NoneType"):
        trainer_with(MaskOverlay(), tmp_path).test(Silent(), loader(), verbose=False)
