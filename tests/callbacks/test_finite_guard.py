"""Claims about steps whose loss or gradient is not finite."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from lightning import Callback
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.plugins import MixedPrecision
from torch import Tensor, nn
from torch.utils.data import DataLoader

from callbacks.checkpoint import SafeCheckpoint
from callbacks.ema import WeightEma
from callbacks.finite_guard import FiniteGuard
from datamodules.sample import Batch
from lightning_modules.optimizers import adamw
from tests.callbacks.toy_training import BATCHES, ToyModule, toy_trainer


class Spoilt(ToyModule):
    """Trains a batch normalisation and a head with AdamW; notes its state after each batch."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Identity()  # type: ignore[assignment]
        self.head = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))  # type: ignore[assignment]
        nn.init.ones_(self.head[1].weight)
        self.after: list[dict[str, Tensor]] = []

    def on_train_batch_end(self, outputs: object, batch: Batch, batch_idx: int) -> None:
        self.after.append({name: value.clone() for name, value in self.state_dict().items()})

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return adamw([{"params": list(self.head.parameters())}], lr=0.1, betas=(0.9, 0.999))


class Overflowing(Spoilt):
    """Its gradients are infinite though its loss is not."""

    def on_after_backward(self) -> None:
        self.head[1].weight.grad.fill_(torch.inf)  # type: ignore[union-attr,operator]


def fit(
    folder: Path,
    faulty: set[int],
    *callbacks: Callback,
    module: Spoilt | None = None,
    **settings: object,
) -> Spoilt:
    """The module after an epoch of four batches, those of these numbers with a nan in them."""
    module = module or Spoilt()
    nan = torch.full_like(BATCHES[0].image, torch.nan)
    content = [
        replace(batch, image=nan) if number in faulty else batch
        for number, batch in enumerate(BATCHES)
    ]
    loader: DataLoader[Batch] = DataLoader(content, batch_size=None)  # type: ignore[arg-type]
    trainer = toy_trainer(folder, callbacks, **settings)  # type: ignore[arg-type]
    trainer.fit(module, loader)
    return module


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())


def test_faulty_batch_changes_no_weight_and_no_statistic(tmp_path: Path, seed: int) -> None:
    guard = FiniteGuard()
    module = fit(tmp_path, {2}, guard, WeightEma(0.9), SafeCheckpoint())
    assert same(module.after[2], module.after[1]) and not same(module.after[3], module.after[2])
    assert all(torch.isfinite(value).all() for value in module.after[3].values())
    assert guard.skipped == 1
    averages = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert all(torch.isfinite(value).all() for value in averages.values())
    unguarded = fit(tmp_path, {2})
    assert not torch.isfinite(unguarded.head[1].weight).all()  # type: ignore[index]


def test_faulty_batch_takes_the_whole_accumulated_step_with_it(tmp_path: Path, seed: int) -> None:
    module = fit(tmp_path, {0}, FiniteGuard(), accumulate=2)
    weights = [after["head.1.weight"] for after in module.after]
    assert weights[1].equal(weights[0]) and not weights[3].equal(weights[1])


def test_faults_are_logged_by_their_number(tmp_path: Path, seed: int) -> None:
    logger = CSVLogger(tmp_path, "csv", "")
    fit(tmp_path, {1, 3}, FiniteGuard(), logger=logger)
    head, *rows = (tmp_path / "csv" / "metrics.csv").read_text().splitlines()
    column = head.split(",").index("perf/skipped_steps")
    assert [row.split(",")[column] for row in rows if row.split(",")[column]] == ["1.0", "2.0"]


def test_so_many_in_a_row_stop_the_run_and_say_why(tmp_path: Path, seed: int) -> None:
    with pytest.raises(ValueError, match="2 steps in a row") as stopped:
        fit(tmp_path, {1, 2, 3}, FiniteGuard(2))
    words = str(stopped.value)
    assert "step 2; manifest rows 0, 1; mask/train/loss nan" in words
    assert "head.1.weight" in words and "learning rate 0.1" in words and "bf16-mixed" in words
    fit(tmp_path, {0, 2}, FiniteGuard(2))


def test_overflow_that_finds_the_loss_scale_is_no_fault_unless_it_does_not_end(
    tmp_path: Path, seed: int
) -> None:
    guard, module = FiniteGuard(), Overflowing()
    fit(tmp_path, set(), guard, module=module, plugins=MixedPrecision("16-mixed", "cpu"))
    assert guard.skipped == 0 and guard.consecutive == 4
    assert module.after[3]["head.1.weight"].equal(module.after[0]["head.1.weight"])
    scaled = MixedPrecision("16-mixed", "cpu")
    with pytest.raises(ValueError, match=r"3 steps in a row"):
        fit(tmp_path, set(), FiniteGuard(3), module=Overflowing(), plugins=scaled)
