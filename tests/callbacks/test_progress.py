"""Claims about progress lines."""

import logging
from pathlib import Path

import pytest
import torch

from callbacks.progress import PlainProgress, loss_of, time_left
from tests.callbacks.toy_training import ToyModule, toy_loader, toy_trainer


def test_one_line_every_so_many_steps(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="callbacks.progress")
    trainer = toy_trainer(tmp_path, [PlainProgress(every_steps=2)])
    trainer.fit(ToyModule(), toy_loader(5), toy_loader(1))
    records = [record for record in caplog.records if record.name == "callbacks.progress"]
    lines = [record.getMessage() for record in records]
    assert [line.split(",")[0] for line in lines[:2]] == ["step 2", "step 4"]
    assert lines[2] == "validated at step 5: mask/val/iou_image 0.5000"
    assert "it/s" in lines[0] and "images/s" in lines[0] and "loss" in lines[0]


def test_loss_is_read_from_either_form() -> None:
    assert loss_of(torch.tensor(2.0)) == loss_of({"loss": torch.tensor(2.0)}) == 2.0
    assert loss_of(None) != loss_of(None)


@pytest.mark.parametrize(
    ("steps", "words"), [(10, ", 20 s left"), (600, ", 20 min left"), (-1, "")]
)
def test_time_left_in_words(steps: int, words: str) -> None:
    assert time_left(steps, 2.0) == words


def test_interval_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="every_steps: got 0"):
        PlainProgress(0)
