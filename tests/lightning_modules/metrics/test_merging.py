"""Claims about all metrics of an evaluation at once: they stay small, and they add up exactly."""

import pytest
import torch
from torchmetrics import Metric

from lightning_modules.evaluation import Evaluation
from tests.lightning_modules.metrics.random_scenes import NAMES, part_of, random_scenes


def counters() -> list[Metric]:
    """A fresh set of what a test run counts."""
    return list(Evaluation(NAMES).counters["test"].values())  # type: ignore[arg-type]


def state_bytes(metrics: list[Metric]) -> list[int]:
    return [sum(value.nbytes for value in one.metric_state.values()) for one in metrics]


def test_state_does_not_grow_with_images_or_their_size() -> None:
    metrics = counters()
    before = state_bytes(metrics)
    for seed, side_px in enumerate((48, 96, 160)):
        for metric in metrics:
            metric.update(*random_scenes(seed, side_px=side_px))
    assert state_bytes(metrics) == before


def test_state_is_whole_numbers_alone() -> None:
    values = [value for metric in counters() for value in metric.metric_state.values()]
    assert {value.is_floating_point() for value in values} == {False}


@pytest.mark.parametrize("first", [[0], [6, 2, 4, 0], [5, 4, 3, 2, 1]])
def test_shares_of_two_processes_add_up_to_one_pass_bit_by_bit(first: list[int]) -> None:
    predictions, batch = random_scenes(0, count=7)
    second = [place for place in range(7) if place not in first]
    for whole, one, other in zip(counters(), counters(), counters(), strict=True):
        whole.update(predictions, batch)
        for metric, places in ((one, first), (other, second)):
            metric.update([predictions[place] for place in places], part_of(batch, places))
        one.merge_state(other)
        figures = one.compute()
        for name, figure in whole.compute().items():
            torch.testing.assert_close(figures[name], figure, rtol=0, atol=0, equal_nan=True)


def test_images_are_counted_one_by_one_whatever_the_batch() -> None:
    predictions, batch = random_scenes(1, count=5)
    for together, alone in zip(counters(), counters(), strict=True):
        together.update(predictions, batch)
        for place, prediction in enumerate(predictions):
            alone.update([prediction], part_of(batch, [place]))
        for name, value in together.metric_state.items():
            assert torch.equal(alone.metric_state[name], value)
