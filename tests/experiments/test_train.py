"""Holds that the passes of a step follow from the global batch and the number of processes."""

from types import SimpleNamespace

import pytest

from datamodules.imdd import IMDDDataModule
from experiments.train import accumulate


def passes(global_batch_size: int | None, *, process_count: int, given: int = 1) -> int:
    """How many passes a trainer takes for a step, at most 32 images in each."""
    data = IMDDDataModule(manifest="none", batch_size=32, global_batch_size=global_batch_size)
    trainer = SimpleNamespace(world_size=process_count, accumulate_grad_batches=given)
    accumulate(trainer, data)  # type: ignore[arg-type]
    return trainer.accumulate_grad_batches


@pytest.mark.parametrize(("process_count", "count"), [(1, 8), (2, 4), (8, 1), (16, 1)])
def test_what_one_pass_cannot_hold_is_accumulated(process_count: int, count: int) -> None:
    assert passes(256, process_count=process_count) == count


def test_without_a_global_batch_the_trainers_own_setting_stays() -> None:
    assert passes(None, process_count=2, given=3) == 3


def test_a_setting_that_contradicts_the_global_batch_is_refused() -> None:
    with pytest.raises(ValueError, match=r"accumulate_grad_batches is 3, but .* needs 8"):
        passes(256, process_count=1, given=3)


def test_processes_that_cannot_share_the_batch_are_refused() -> None:
    with pytest.raises(ValueError, match="3 processes cannot share evenly: use 2"):
        passes(256, process_count=3)
