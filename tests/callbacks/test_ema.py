"""Claims about the averaged weights: who sees them, and what a checkpoint holds."""

from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor

from callbacks.ema import WeightEma
from tests.callbacks.toy_training import ToyModule, toy_loader, toy_trainer


def fit(folder: Path, ema: WeightEma, *, max_epochs: int = 1) -> tuple[Trainer, ToyModule]:
    """A toy model trained for four steps an epoch, validated after each epoch."""
    trainer, module = toy_trainer(folder, [ema], max_epochs=max_epochs), ToyModule()
    trainer.fit(module, toy_loader(), toy_loader(1))
    return trainer, module


class WeightNotes(WeightEma):
    """EMA that also notes the training weights after each step."""

    def __init__(self, decay: float) -> None:
        super().__init__(decay, warmup=False)
        self.notes: list[Tensor] = []

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, *rest: object
    ) -> None:
        """Note, then average."""
        self.notes.append(pl_module.head.weight.detach().clone())  # type: ignore[union-attr]
        super().on_train_batch_end(trainer, pl_module, *rest)  # type: ignore[arg-type]


def averaged(notes: list[Tensor], decay: float) -> Tensor:
    """The EMA of the noted weights, by hand."""
    average = notes[0]
    for note in notes[1:]:
        average = decay * average + (1 - decay) * note
    return average


def test_average_is_the_ema_of_the_steps(tmp_path: Path, seed: int) -> None:
    ema = WeightNotes(0.9)
    _, module = fit(tmp_path, ema)
    torch.testing.assert_close(module.head.weight.data, averaged(ema.notes, 0.9))


def test_averages_validate(tmp_path: Path, seed: int) -> None:
    ema = WeightNotes(0.9)
    _, module = fit(tmp_path, ema, max_epochs=2)
    torch.testing.assert_close(module.validated[0], averaged(ema.notes[:4], 0.9))
    torch.testing.assert_close(module.validated[1], averaged(ema.notes, 0.9))


def test_training_goes_on_from_the_training_weights(tmp_path: Path, seed: int) -> None:
    ema = WeightNotes(0.9)
    _, module = fit(tmp_path, ema, max_epochs=2)
    # The first note of epoch 2 is one step away from the last of epoch 1, not from its average.
    step = (ema.notes[4] - ema.notes[3]).norm()
    assert step < (ema.notes[4] - module.validated[0]).norm()


def test_no_validation_sees_weights_that_were_never_averaged(tmp_path: Path, seed: int) -> None:
    trainer, module = toy_trainer(tmp_path, [WeightEma(0.9)]), ToyModule()
    start = module.head.weight.detach().clone()
    trainer.num_sanity_val_steps = 1
    trainer.fit(module, toy_loader(), toy_loader(1))
    torch.testing.assert_close(module.validated[0], start, rtol=0, atol=0)


def test_module_calibrates_on_the_averages_and_keeps_its_buffers(tmp_path: Path, seed: int) -> None:
    trainer, module = fit(tmp_path, WeightEma(0.9), max_epochs=2)
    assert float(module.threshold) == 2
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    assert float(torch.load(tmp_path / "a.ckpt")["state_dict"]["threshold"]) == 2


def test_checkpoint_holds_averages_and_training_weights(tmp_path: Path, seed: int) -> None:
    ema = WeightNotes(0.9)
    trainer, _ = fit(tmp_path, ema)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt")
    torch.testing.assert_close(saved["state_dict"]["head.weight"], averaged(ema.notes, 0.9))
    torch.testing.assert_close(saved["current_model_state"]["head.weight"], ema.notes[-1])


def test_checkpoint_saved_in_mid_validation_is_the_same(tmp_path: Path, seed: int) -> None:
    class SavingModule(ToyModule):
        def validation_step(self, batch: object, batch_idx: int) -> None:
            self.trainer.save_checkpoint(tmp_path / "mid.ckpt")

    ema = WeightNotes(0.9)
    toy_trainer(tmp_path, [ema]).fit(SavingModule(), toy_loader(), toy_loader(1))
    saved = torch.load(tmp_path / "mid.ckpt")
    torch.testing.assert_close(saved["state_dict"]["head.weight"], averaged(ema.notes, 0.9))
    torch.testing.assert_close(saved["current_model_state"]["head.weight"], ema.notes[-1])


def test_frozen_weights_are_not_held_twice(tmp_path: Path, seed: int) -> None:
    trainer, _ = fit(tmp_path, WeightEma(0.9))
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    saved = torch.load(tmp_path / "a.ckpt")
    assert set(saved["current_model_state"]) == {"head.weight", "head.bias"}


def test_resume_ends_where_an_unbroken_run_ends(tmp_path: Path, seed: int) -> None:
    loader = toy_loader()
    module = ToyModule()
    start = {name: value.clone() for name, value in module.state_dict().items()}
    toy_trainer(tmp_path, [WeightEma()], max_epochs=2).fit(module, loader)
    half = ToyModule()
    half.load_state_dict(start)
    first = toy_trainer(tmp_path, [WeightEma()])
    first.fit(half, loader)
    first.save_checkpoint(tmp_path / "half.ckpt")
    resumed = ToyModule()
    second = toy_trainer(tmp_path, [WeightEma()], max_epochs=2)
    second.fit(resumed, loader, ckpt_path=tmp_path / "half.ckpt")
    torch.testing.assert_close(resumed.head.weight, module.head.weight, rtol=0, atol=0)


def test_best_checkpoint_is_tested_with_its_averages(tmp_path: Path, seed: int) -> None:
    ema = WeightNotes(0.9)
    trainer, module = fit(tmp_path, ema)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    trainer.test(module, toy_loader(1), ckpt_path=tmp_path / "a.ckpt", verbose=False)
    torch.testing.assert_close(module.tested[0], averaged(ema.notes, 0.9))


def test_resume_with_other_frozen_parts_is_refused(tmp_path: Path, seed: int) -> None:
    trainer, module = fit(tmp_path, WeightEma())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    module.backbone.requires_grad_(True)
    again = toy_trainer(tmp_path, [WeightEma()], max_epochs=2)
    with pytest.raises(ValueError, match=r"got 2 trainable weights, expected 4"):
        again.fit(module, toy_loader(), ckpt_path=tmp_path / "a.ckpt")


def test_tied_weight_is_averaged_under_both_names(tmp_path: Path, seed: int) -> None:
    module = ToyModule()
    module.twin = module.head
    trainer = toy_trainer(tmp_path, [WeightEma(0.9)])
    trainer.fit(module, toy_loader())
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    state = torch.load(tmp_path / "a.ckpt")["state_dict"]
    torch.testing.assert_close(state["twin.weight"], state["head.weight"], rtol=0, atol=0)


def test_weights_only_checkpoints_are_refused(tmp_path: Path) -> None:
    trainer = Trainer(
        accelerator="cpu",
        logger=False,
        default_root_dir=tmp_path,
        callbacks=[WeightEma(), ModelCheckpoint(tmp_path, save_weights_only=True)],
    )
    with pytest.raises(ValueError, match="save_weights_only"):
        trainer.fit(ToyModule(), toy_loader())


def test_warm_up_lets_short_runs_average() -> None:
    ema = WeightEma(0.9999)
    assert ema.decay_at(1) == 2 / 11
    assert ema.decay_at(10**7) == 0.9999
    assert WeightEma(0.9999, warmup=False).decay_at(1) == 0.9999


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_decay_outside_its_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay: got"):
        WeightEma(decay)
