"""Holds that the passes of a step follow from the global batch and the number of processes."""

from types import SimpleNamespace

import pytest

from datamodules.imdd import IMDDDataModule
from experiments.train import accumulate


def passes(images: int | None, processes: int, given: int = 1) -> int:
    """How many passes a trainer takes for a step, at most 32 images in each."""
    data = IMDDDataModule(manifest="none", batch_size=32, global_batch_size=images)
    trainer = SimpleNamespace(world_size=processes, accumulate_grad_batches=given)
    accumulate(trainer, data)  # type: ignore[arg-type]
    return trainer.accumulate_grad_batches


def test_what_one_pass_cannot_hold_is_accumulated() -> None:
    assert [passes(256, processes) for processes in (1, 2, 8, 16)] == [8, 4, 1, 1]
    assert passes(None, 2, given=3) == 3


@pytest.mark.parametrize(
    ("processes", "given", "line"),
    [
        (1, 3, r"accumulate_grad_batches is 3, but .* needs 8"),
        (3, 1, r"3 processes cannot share evenly: use 2"),
    ],
)
def test_what_contradicts_the_global_batch_is_refused(
    processes: int, given: int, line: str
) -> None:
    with pytest.raises(ValueError, match=line):
        passes(256, processes, given)
