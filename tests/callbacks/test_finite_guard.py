"""Claims about steps whose loss or gradient is not finite."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor
from torch.utils.data import DataLoader

from callbacks.ema import WeightEma
from callbacks.finite_guard import FiniteGuard
from datamodules.sample import Batch
from lightning_modules.optimizers import adamw
from tests.callbacks.saved_training import BATCHES, Normed, trainer_of


class Spoilt(Normed):
    """Trains with AdamW; notes its state after each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.after: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        self.after.append({name: value.clone() for name, value in self.state_dict().items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return adamw([{"params": list(self.head.parameters())}], lr=0.1, betas=(0.9, 0.999))


def batches(faulty: set[int]) -> DataLoader[Batch]:
    """Toy batches, those of these numbers with a nan in them."""
    nan = torch.full_like(BATCHES[0].image, torch.nan)
    content = [
        replace(batch, image=nan) if number in faulty else batch
        for number, batch in enumerate(BATCHES)
    ]
    return DataLoader(content, batch_size=None)  # type: ignore[arg-type]


def fit(folder: Path, faulty: set[int], guard: FiniteGuard, **settings: object) -> Spoilt:
    module = Spoilt()
    callbacks = [guard, *settings.pop("more", [])]  # type: ignore[attr-defined]
    trainer = trainer_of(folder, callbacks, max_epochs=1, **settings)  # type: ignore[arg-type]
    trainer.fit(module, batches(faulty))
    return module


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_faulty_batch_changes_no_weight_and_no_statistic(tmp_path: Path, seed: int) -> None:
    guard = FiniteGuard()
    module = fit(tmp_path, {2}, guard)
    assert same(module.after[2], module.after[1]) and not same(module.after[3], module.after[2])
    assert all(torch.isfinite(value).all() for value in module.after[3].values())
    assert guard.skipped == 1


def test_without_the_guard_the_same_batch_spoils_the_weights(tmp_path: Path, seed: int) -> None:
    module = Spoilt()
    trainer_of(tmp_path, [], max_epochs=1).fit(module, batches({2}))
    assert not torch.isfinite(module.head[1].weight).all()


def test_average_stays_finite(tmp_path: Path, seed: int) -> None:
    fit(tmp_path, {1, 2}, FiniteGuard(), more=[WeightEma(0.9)])
    saved = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert all(torch.isfinite(value).all() for value in saved["state_dict"].values())


def test_faulty_batch_takes_the_whole_accumulated_step_with_it(tmp_path: Path, seed: int) -> None:
    module = fit(tmp_path, {0}, FiniteGuard(), accumulate=2)
    weights = [after["head.1.weight"] for after in module.after]
    assert weights[1].equal(weights[0]) and not weights[3].equal(weights[1])


def test_faults_are_counted_and_logged(tmp_path: Path, seed: int) -> None:
    logger = CSVLogger(tmp_path, "csv", "")
    fit(tmp_path, {1, 3}, FiniteGuard(), logger=logger)
    head, *rows = (tmp_path / "csv" / "metrics.csv").read_text().splitlines()
    column = head.split(",").index("perf/skipped_steps")
    assert [row.split(",")[column] for row in rows if row.split(",")[column]] == ["1.0", "2.0"]


def test_count_goes_on_after_a_resume(tmp_path: Path, seed: int) -> None:
    fit(tmp_path, {1}, FiniteGuard())
    guard, checkpoint = FiniteGuard(), tmp_path / "checkpoints" / "last.ckpt"
    trainer = trainer_of(tmp_path, [guard], max_epochs=2)
    trainer.fit(Spoilt(), batches({3}), ckpt_path=checkpoint, weights_only=True)
    assert guard.skipped == 2


def test_so_many_in_a_row_stop_the_run_and_say_why(tmp_path: Path, seed: int) -> None:
    with pytest.raises(ValueError, match="2 steps in a row") as stopped:
        fit(tmp_path, {1, 2, 3}, FiniteGuard(2))
    words = str(stopped.value)
    assert "step 2; manifest rows 0, 1; mask/train/loss nan" in words
    assert "head.1.weight" in words and "learning rate 0.1" in words and "bf16-mixed" in words


def test_faults_with_good_steps_between_do_not_stop_the_run(tmp_path: Path, seed: int) -> None:
    guard = FiniteGuard(2)
    fit(tmp_path, {0, 2}, guard)
    assert guard.skipped == 2


class Overflowing(Spoilt):
    """Its gradients are infinite though its loss is not."""

    def on_after_backward(self) -> None:
        self.head[1].weight.grad.fill_(torch.inf)  # type: ignore[union-attr,operator]


def fit_scaled(folder: Path, guard: FiniteGuard) -> Overflowing:
    """Trained with the loss scale of 16-mixed, on the CPU."""
    module = Overflowing()
    trainer = Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[guard],
        plugins=[MixedPrecision("16-mixed", "cpu")],
        logger=False,
        default_root_dir=folder,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, batches(set()))
    return module


def test_overflow_that_finds_the_loss_scale_is_no_fault(tmp_path: Path, seed: int) -> None:
    guard = FiniteGuard()
    module = fit_scaled(tmp_path, guard)
    assert guard.skipped == 0 and guard.consecutive == 4
    assert module.after[3]["head.1.weight"].equal(module.after[0]["head.1.weight"])


def test_overflow_without_end_is_one_with_the_scale_named(tmp_path: Path, seed: int) -> None:
    with pytest.raises(ValueError, match=r"3 steps in a row .* loss scale 16384"):
        fit_scaled(tmp_path, FiniteGuard(3))


def test_no_patience_at_all_is_refused() -> None:
    with pytest.raises(ValueError, match="max_consecutive: got 0"):
        FiniteGuard(0)


def test_module_without_gradients_passes(tmp_path: Path, seed: int) -> None:
    class Frozen(Spoilt):
        def training_step(self, batch: Batch, batch_idx: int) -> Tensor | None:  # type: ignore[override]
            return None

    guard = FiniteGuard()
    module: LightningModule = Frozen()
    trainer_of(tmp_path, [guard], max_epochs=1).fit(module, batches(set()))
    assert guard.skipped == 0
