"""The order of samples: complete, deterministic, resumable, shared by ranks."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import Dataset

from datamodules.sample import Batch, Sample
from datamodules.sampler import BatchPlan, Draw, ResumableLoader, ResumableSampler, plan_batches


class Numbered(Dataset[Sample]):
    """Samples whose row is their place and whose only pixel tells the turn."""

    def __getitem__(self, draw: Draw) -> Sample:
        image = torch.full((3, 1, 1), float(draw.turn))
        return Sample(image, torch.zeros(1, 1, dtype=torch.int64), True, "", (), draw.row)


def sampler(length: int, **settings: object) -> ResumableSampler:
    return ResumableSampler(np.arange(length), **settings)  # type: ignore[arg-type]


def ranks(length: int, count: int, **settings: object) -> list[ResumableSampler]:
    return [sampler(length, rank=rank, world_size=count, **settings) for rank in range(count)]


def loader(length: int, *, workers: int = 0) -> ResumableLoader:
    return ResumableLoader(Numbered(), sampler(length), batch_size=3, num_workers=workers)


def drawn(batch: Batch) -> list[tuple[int, int]]:
    return list(zip(batch.row.tolist(), batch.image[:, 0, 0, 0].int().tolist(), strict=True))


def test_an_epoch_is_a_permutation_that_follows_from_seed_and_epoch() -> None:
    first, second = sampler(50, seed=1), sampler(50, seed=1)
    second.set_epoch(1)
    assert sorted(draw.row for draw in first) == list(range(50))
    assert list(first) == list(sampler(50, seed=1))
    assert [d.row for d in first] != [d.row for d in second]
    assert list(first) != list(sampler(50, seed=2))
    assert [draw.row for draw in sampler(4, shuffle=False)] == [0, 1, 2, 3]


def test_the_order_is_that_of_all_earlier_runs() -> None:
    order = sampler(10, seed=3, draws_per_epoch=14)
    rows = [9, 6, 0, 2, 1, 4, 7, 5, 3, 8, 4, 1, 2, 8]
    assert list(order) == [Draw(row, place // 10) for place, row in enumerate(rows)]


def test_no_sample_comes_twice_over_two_ranks() -> None:
    both = ranks(41, 2)
    assert [len(list(one)) for one in both] == [20, 20] == [len(one) for one in both]
    assert len({draw.row for one in both for draw in one}) == 40


def test_more_draws_than_samples_repeat_each_evenly_with_new_turns() -> None:
    draws = list(sampler(10, draws_per_epoch=35))
    assert len(draws) == len(set(draws)) == 35
    assert set(Counter(draw.row for draw in draws).values()) == {3, 4}


def test_fewer_draws_than_samples_see_every_sample_before_any_again() -> None:
    order, draws = sampler(10, draws_per_epoch=4), []
    for epoch in range(5):
        order.set_epoch(epoch)
        draws += [draw.row for draw in order]
    assert sorted(draws[:10]) == sorted(draws[10:]) == list(range(10))


def test_nothing_to_sample_from_is_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 1 record"):
        sampler(0)
    with pytest.raises(ValueError, match="draws_per_epoch is 1"):
        sampler(5, world_size=2, draws_per_epoch=1)


def test_a_second_pass_is_the_next_epoch() -> None:
    order = loader(10)
    first, second = ([drawn(batch) for batch in order] for _ in range(2))
    assert first != second
    assert order.state_dict()["epoch"] == 1
    resumed = loader(10)
    resumed.load_state_dict(order.state_dict())
    assert [drawn(batch) for batch in resumed] == [drawn(batch) for batch in order]


@pytest.mark.parametrize("workers", [0, 2])
def test_resumed_loader_yields_what_was_left(workers: int) -> None:
    whole = [drawn(batch) for batch in loader(20, workers=workers)]
    stopped, resumed = loader(20, workers=workers), loader(20, workers=workers)
    batches = iter(stopped)
    for _ in range(3):
        next(batches)
    state = {"seed": 0, "epoch": 0, "consumed": 9, "length": 20, "sha256": ""}
    assert stopped.state_dict() == state, "what is prefetched does not count"
    resumed.load_state_dict(state)
    assert [drawn(batch) for batch in resumed] == whole[3:]
    assert [drawn(batch) for batch in resumed] != whole, "then comes the next epoch"
    del batches


# Places where 1, 4 and 1 processes stopped; at the last one too little is left for all ranks.
@pytest.mark.parametrize(("consumed", "world_size"), [(3, 2), (4, 3), (18, 4)])
def test_ranks_of_another_number_get_equally_many_batches(consumed: int, world_size: int) -> None:
    batches, states = [], []
    for order in ranks(20, world_size):
        resumed = ResumableLoader(Numbered(), order, batch_size=2)
        resumed.load_state_dict(resumed.state_dict() | {"consumed": consumed})
        batches.append([len(batch.row) for batch in resumed])
        states.append(resumed.state_dict())
    assert all(sizes == batches[0] for sizes in batches)
    assert all(state == states[0] for state in states)


def test_epoch_goes_on_with_fewer_and_fewer_ranks() -> None:
    seen: list[int] = []
    for world_size, steps in ((4, 2), (2, 3), (1, 100)):
        orders = ranks(41, world_size)
        for order in orders:
            order.consumed = len(seen)
        together = list(zip(*orders, strict=True))[:steps]
        seen += [draw.row for draws in together for draw in draws]
    assert seen == [draw.row for draw in sampler(41)]


@pytest.mark.parametrize(("name", "value"), [("seed", 7), ("length", 21), ("sha256", "f" * 64)])
def test_state_of_another_order_is_refused(name: str, value: int | str) -> None:
    with pytest.raises(ValueError, match=f"data {name} {value}, expected"):
        loader(20).load_state_dict(loader(20).state_dict() | {name: value})


class Watcher(LightningModule):
    """A module of one weight that notes which draws it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        self.seen: list[list[tuple[int, int]]] = []

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.seen.append(drawn(batch))
        return self.weight.sum()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, *, steps: int, resume: str | None = None) -> Watcher:
    module = Watcher()
    trainer = Trainer(
        default_root_dir=folder,
        max_steps=steps,
        logger=False,
        callbacks=[ModelCheckpoint(folder, "{step}", every_n_train_steps=1, save_top_k=-1)],
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
        devices=1,
    )
    trainer.fit(module, loader(20), ckpt_path=resume, weights_only=True)
    return module


# 7 batches make an epoch: within the first, at its end, within the second.
@pytest.mark.parametrize("stop", [3, 7, 10])
def test_lightning_resumes_with_the_samples_that_were_left(stop: int, tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", steps=16)
    checkpoint = str(tmp_path / "whole" / f"step={stop}.ckpt")
    resumed = fit(tmp_path / "rest", steps=16, resume=checkpoint)
    assert resumed.seen == whole.seen[stop:]


@pytest.mark.parametrize(
    ("global_batch", "process_count", "plan"),
    [
        (256, 1, BatchPlan(32, 8)),
        (256, 2, BatchPlan(32, 4)),
        (256, 8, BatchPlan(32, 1)),
        (256, 16, BatchPlan(16, 1)),
        (256, 256, BatchPlan(1, 1)),
        (240, 4, BatchPlan(30, 2)),
    ],
)
def test_a_steps_batch_is_the_same_on_any_number_of_gpus(
    global_batch: int, process_count: int, plan: BatchPlan
) -> None:
    assert plan_batches(global_batch, 32, process_count) == plan
    assert plan.device_batch_size * plan.accumulation * process_count == global_batch


@pytest.mark.parametrize(("process_count", "fitting"), [(3, 2), (6, 4), (12, 8), (512, 256)])
def test_processes_that_cannot_share_the_batch_are_told_how_many_can(
    process_count: int, fitting: int
) -> None:
    with pytest.raises(ValueError, match=rf"which {process_count} .* use {fitting} of them"):
        plan_batches(256, 32, process_count)
