"""Claims about the random numbers of training."""

import random
from pathlib import Path

import numpy as np
import torch
from lightning import LightningModule, Trainer

from callbacks.checkpoint_file import write_checkpoint
from callbacks.random_states import RandomStates, TrainingRandomness
from tests.callbacks.toy_training import ToyModule, toy_loader, toy_trainer


def draw() -> tuple[float, float, float]:
    """One number of each generator."""
    return random.random(), float(np.random.rand()), float(torch.rand(()))


class Gambler(ToyModule):
    """Draws in training, and in validation if it is a thief."""

    def __init__(self, *, thief: bool) -> None:
        super().__init__()
        self.thief = thief
        self.drawn: list[tuple[float, float, float]] = []

    def training_step(self, batch: object, batch_idx: int) -> torch.Tensor:
        self.drawn.append(draw())
        return super().training_step(batch, batch_idx)  # type: ignore[arg-type]

    def validation_step(self, batch: object, batch_idx: int) -> None:
        if self.thief:
            draw()


def drawn(folder: Path, *, thief: bool) -> list[tuple[float, float, float]]:
    """What two epochs of training draw."""
    loader, module = toy_loader(), Gambler(thief=thief)
    random.seed(0), np.random.seed(0), torch.manual_seed(0)
    trainer = toy_trainer(folder, [TrainingRandomness()], max_epochs=2)
    trainer.fit(module, loader, loader)
    return module.drawn


def test_states_restored_draw_the_same_again(seed: int) -> None:
    states = RandomStates.now()
    first = draw()
    states.restore()
    assert draw() == first


def test_states_survive_a_checkpoint_that_runs_no_code(tmp_path: Path, seed: int) -> None:
    write_checkpoint(RandomStates.now().plain(), tmp_path / "a.ckpt")
    first = draw()
    RandomStates.from_plain(torch.load(tmp_path / "a.ckpt", weights_only=True)).restore()
    assert draw() == first


def test_validation_takes_no_number_from_training(tmp_path: Path) -> None:
    honest, robbed = (drawn(tmp_path, thief=thief) for thief in (False, True))
    assert len(set(honest)) == 8
    assert robbed == honest


def test_resumed_training_draws_what_was_left(tmp_path: Path) -> None:
    class Saver(TrainingRandomness):
        def on_train_batch_end(
            self, trainer: Trainer, pl_module: LightningModule, *rest: object
        ) -> None:
            super().on_train_batch_end(trainer, pl_module, *rest)  # type: ignore[arg-type]
            if trainer.global_step == 6:
                trainer.save_checkpoint(tmp_path / "six.ckpt")

    loader, whole = toy_loader(), Gambler(thief=True)
    toy_trainer(tmp_path, [Saver()], max_epochs=2).fit(whole, loader, loader)
    resumed = Gambler(thief=True)
    trainer = toy_trainer(tmp_path, [TrainingRandomness()], max_epochs=2)
    trainer.fit(resumed, loader, ckpt_path=tmp_path / "six.ckpt", weights_only=True)
    assert resumed.drawn[0] == whole.drawn[6]
