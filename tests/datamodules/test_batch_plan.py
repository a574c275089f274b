"""Holds that a step sees the same number of images on any number of processes."""

import pytest

from datamodules.batch_plan import BatchPlan, plan_batches


@pytest.mark.parametrize(
    ("process_count", "plan"),
    [
        (1, BatchPlan(32, 8)),
        (2, BatchPlan(32, 4)),
        (8, BatchPlan(32, 1)),
        (16, BatchPlan(16, 1)),
        (256, BatchPlan(1, 1)),
    ],
)
def test_table_2s_batch_is_256_on_any_number_of_gpus(process_count: int, plan: BatchPlan) -> None:
    assert plan_batches(256, 32, process_count) == plan
    assert plan.device_batch_size * plan.accumulation * process_count == 256


def test_a_share_that_the_largest_pass_does_not_divide_takes_equal_smaller_passes() -> None:
    assert plan_batches(240, 32, 4) == BatchPlan(30, 2)


@pytest.mark.parametrize(("process_count", "fitting"), [(3, 2), (6, 4), (12, 8), (512, 256)])
def test_processes_that_cannot_share_the_batch_are_told_how_many_can(
    process_count: int, fitting: int
) -> None:
    with pytest.raises(ValueError, match=rf"which {process_count} .* use {fitting} of them"):
        plan_batches(256, 32, process_count)
