"""Holds both schedules at their ends, the decay groups, and how the steps are counted."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from lightning import Trainer
from lightning.fabric.plugins.precision.amp import _optimizer_handles_unscaling
from torch import nn

from lightning_modules.optimizers import (
    adamw,
    split_by_decay,
    total_steps,
    warm_up_cosine,
    warm_up_polynomial,
)

TABLE_2 = partial(warm_up_cosine, warmup_steps=5_000, total_steps=484_500, start=0.01, floor=0.01)
TABLE_3 = partial(warm_up_polynomial, warmup_steps=500, total_steps=10_000, power=0.9)


@pytest.mark.parametrize(
    ("step", "rate"),
    [
        (0, 1e-6),
        (2_500, (1e-6 + 1e-4) / 2),
        (5_000, 1e-4),
        (5_000 + 479_500 // 2, (1e-6 + 1e-4) / 2),
        (484_500, 1e-6),
        (10**9, 1e-6),
    ],
)
def test_stage_1_rate_is_table_2s(step: int, rate: float) -> None:
    assert 1e-4 * TABLE_2(step) == pytest.approx(rate)


@pytest.mark.parametrize(
    ("step", "factor"),
    [(500, 1.0), (5_250, 0.5**0.9), (9_999, (1 / 9_500) ** 0.9), (10_000, 0.0), (10**9, 0.0)],
)
def test_stage_2_rate_is_a_polynomial_of_power_09(step: int, factor: float) -> None:
    assert TABLE_3(step) == pytest.approx(factor)


class Toy(nn.Module):
    """One weight of each kind, one of them frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 3)
        self.norm = nn.GroupNorm(1, 3)
        self.words = nn.Embedding(4, 3)
        self.scale = nn.Parameter(torch.zeros(()))
        self.levels = nn.Parameter(torch.zeros(2, 3))
        self.frozen = nn.Linear(2, 2).requires_grad_(False)


def test_only_matrices_decay() -> None:
    toy = Toy()
    decayed, plain = split_by_decay(toy, 0.1)
    assert decayed["weight_decay"] == 0.1 and plain["weight_decay"] == 0
    assert decayed["params"] == [toy.linear.weight]
    names = {id(weight): name for name, weight in toy.named_parameters()}
    assert {names[id(weight)] for weight in plain["params"]} == {  # type: ignore[attr-defined]
        "linear.bias", "norm.weight", "norm.bias", "words.weight", "scale",
        "levels",
    }  # fmt: skip


def steps_of(**settings: object) -> int:
    """The steps of a trainer without its own estimate, which drops the resumable loader's state."""
    data = SimpleNamespace(batches_per_epoch=lambda count: max(1, 104 // (8 * count)))
    counts = {"max_steps": -1, "max_epochs": 10, "world_size": 1, "accumulate_grad_batches": 1}
    counts["limit_train_batches"] = 1.0  # all
    trainer: Trainer = SimpleNamespace(datamodule=data, **(counts | settings))  # type: ignore[assignment]
    return total_steps(trainer)


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({}, 130),
        ({"world_size": 2}, 60),
        ({"accumulate_grad_batches": 5}, 30),
        ({"limit_train_batches": 4}, 40),
        ({"limit_train_batches": 99}, 130),
        ({"limit_train_batches": 0.5}, 60),
        ({"max_steps": 7}, 7),
        ({"max_steps": 7, "max_epochs": None}, 7),
        ({"max_epochs": 1, "world_size": 1000}, 1),
    ],
)
def test_steps_come_from_data_and_trainer_alone(settings: dict[str, object], steps: int) -> None:
    assert steps_of(**settings) == steps


@pytest.mark.parametrize("max_epochs", [None, -1, 0])
def test_endless_fit_is_refused(max_epochs: int | None) -> None:
    with pytest.raises(ValueError, match=r"set trainer.max_epochs or trainer.max_steps"):
        steps_of(max_epochs=max_epochs)


def test_fused_adamw_lets_half_precision_be_clipped_by_norm() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = adamw([{"params": [weight]}], lr=1e-4, betas=(0.9, 0.999))
    assert optimizer.defaults["fused"]
    assert not _optimizer_handles_unscaling(optimizer)
