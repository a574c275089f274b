"""Claims about the notes of every batch."""

import json
from pathlib import Path

import pytest
from lightning import Trainer

from callbacks.step_notes import NOTES_NAME, StepNotes
from tests.callbacks.toy_training import ToyModule, toy_loader, toy_trainer


def notes(folder: Path, *, max_epochs: int = 1) -> list[dict[str, object]]:
    trainer: Trainer = toy_trainer(folder, [StepNotes()], max_epochs=max_epochs)
    trainer.fit(ToyModule(), toy_loader(2))
    return [json.loads(line) for line in (folder / NOTES_NAME).read_text().splitlines()]


def test_each_batch_has_its_place_rows_and_step(tmp_path: Path) -> None:
    found = notes(tmp_path, max_epochs=2)
    assert [(note["epoch"], note["batch"], note["step"]) for note in found] == [
        (0, 0, 1),
        (0, 1, 2),
        (1, 0, 3),
        (1, 1, 4),
    ]
    assert all(note["rows"] == [0, 1] for note in found)


def test_loss_and_learning_rate_are_exact(tmp_path: Path) -> None:
    (first, *_) = notes(tmp_path)
    assert float.fromhex(str(first["learning_rate"])) == pytest.approx(0.1)
    assert float.fromhex(str(first["loss"])) >= 0 and "0x" in str(first["loss"])


def test_another_training_in_the_directory_goes_on_writing(tmp_path: Path) -> None:
    notes(tmp_path)
    assert len(notes(tmp_path)) == 4
