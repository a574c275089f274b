"""Claims about the averaged weights: who sees them, and what a checkpoint holds."""

from pathlib import Path

import torch
from lightning import LightningModule, Trainer
from torch import Tensor

from callbacks.ema import LIVE_KEY, WeightEma
from tests.callbacks.toy_training import ToyModule, toy_loader, toy_trainer


class WeightNotes(WeightEma):
    """EMA of decay 0.9 that also notes the training weights after each step."""

    def __init__(self) -> None:
        super().__init__(0.9, warmup=False)
        self.notes: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *rest: object
    ) -> None:
        """Note, then average."""
        self.notes.append(pl_module.head.weight.detach().clone())  # type: ignore[union-attr]
        super().on_train_batch_end(trainer, pl_module, *rest)

    def averaged(self, steps: int | None = None) -> Tensor:
        """The EMA of the weights after so many steps, by hand."""
        average, *rest = self.notes[:steps]
        for note in rest:
            average = 0.9 * average + 0.1 * note
        return average


def fit(
    folder: Path, ema: WeightEma, *, max_epochs: int = 1, module: ToyModule | None = None
) -> tuple[Trainer, ToyModule]:
    """A toy model trained for four steps an epoch, validated after each epoch."""
    trainer, module = toy_trainer(folder, [ema], max_epochs=max_epochs), module or ToyModule()
    trainer.fit(module, toy_loader(), toy_loader(1))
    return trainer, module


def saved_by(trainer: Trainer, folder: Path) -> dict[str, dict[str, Tensor]]:
    trainer.save_checkpoint(folder / "a.ckpt")
    return torch.load(folder / "a.ckpt", weights_only=True)


def test_averages_validate_and_stay_while_training_goes_on_from_its_own_weights(
    tmp_path: Path, seed: int
) -> None:
    ema = WeightNotes()
    _, module = fit(tmp_path, ema, max_epochs=2)
    torch.testing.assert_close(module.validated[0], ema.averaged(4))
    torch.testing.assert_close(module.validated[1], ema.averaged())
    torch.testing.assert_close(module.head.weight.data, ema.averaged())
    # The first note of epoch 2 is one step away from the last of epoch 1, not from its average.
    assert (ema.notes[4] - ema.notes[3]).norm() < (ema.notes[4] - module.validated[0]).norm()


def test_no_validation_sees_weights_that_were_never_averaged(tmp_path: Path, seed: int) -> None:
    trainer, module = toy_trainer(tmp_path, [WeightEma(0.9)]), ToyModule()
    start = module.head.weight.detach().clone()
    trainer.num_sanity_val_steps = 1
    trainer.fit(module, toy_loader(), toy_loader(1))
    assert module.validated[0].equal(start)


def test_checkpoint_holds_averages_and_of_the_training_weights_those_that_train(
    tmp_path: Path, seed: int
) -> None:
    ema = WeightNotes()
    trainer, module = fit(tmp_path, ema, max_epochs=2)
    saved = saved_by(trainer, tmp_path)
    torch.testing.assert_close(saved["state_dict"]["head.weight"], ema.averaged())
    torch.testing.assert_close(saved[LIVE_KEY]["head.weight"], ema.notes[-1])
    assert set(saved[LIVE_KEY]) == {"head.weight", "head.bias"}
    # The buffer that a module calibrates is its own.
    assert float(saved["state_dict"]["threshold"]) == 2
    trainer.test(module, toy_loader(1), ckpt_path=tmp_path / "a.ckpt", verbose=False)
    torch.testing.assert_close(module.tested[0], ema.averaged())


def test_checkpoint_saved_in_mid_validation_is_the_same(tmp_path: Path, seed: int) -> None:
    class SavingModule(ToyModule):
        def validation_step(self, batch: object, batch_idx: int) -> None:
            self.trainer.save_checkpoint(tmp_path / "mid.ckpt")

    ema = WeightNotes()
    fit(tmp_path, ema, module=SavingModule())
    saved = torch.load(tmp_path / "mid.ckpt", weights_only=True)
    torch.testing.assert_close(saved["state_dict"]["head.weight"], ema.averaged())
    torch.testing.assert_close(saved[LIVE_KEY]["head.weight"], ema.notes[-1])


def test_tied_weight_is_averaged_under_both_names(tmp_path: Path, seed: int) -> None:
    module = ToyModule()
    module.twin = module.head
    trainer, _ = fit(tmp_path, WeightEma(0.9), module=module)
    state = saved_by(trainer, tmp_path)["state_dict"]
    assert state["twin.weight"].equal(state["head.weight"])


def test_warm_up_lets_short_runs_average() -> None:
    ema = WeightEma(0.9999)
    assert (ema.decay_at(1), ema.decay_at(10**7)) == (2 / 11, 0.9999)
    assert WeightEma(0.9999, warmup=False).decay_at(1) == 0.9999
