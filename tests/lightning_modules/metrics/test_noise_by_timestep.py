"""Holds the loss by bins of time against hand-worked bins and edges."""

import pytest
import torch
from torch import Tensor

from lightning_modules.metrics.noise_by_timestep import NoiseLossByTimestep


def draw(seed: int, count: int = 500) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    losses = torch.rand(count, generator=generator)
    return losses, torch.randint(1, 1001, (count,), generator=generator)


def test_bins_by_hand() -> None:
    metric = NoiseLossByTimestep(10, bins=2)
    metric.update(torch.tensor([1.0, 3.0, 5.0]), torch.tensor([2, 5, 9]))
    metric.update(torch.tensor([8.0, 8.0]), torch.tensor([6, 10]))
    figures = {name: float(figure) for name, figure in metric.compute().items()}
    assert figures == {"loss_diff": 5, "loss_diff_t0001_0005": 2, "loss_diff_t0006_0010": 7}


@pytest.mark.parametrize(
    ("t", "name"),
    [
        (1, "t0001_0100"),
        (100, "t0001_0100"),
        (101, "t0101_0200"),
        (900, "t0801_0900"),
        (901, "t0901_1000"),
        (1000, "t0901_1000"),
    ],
)
def test_edges_belong_to_the_bin_that_names_them(t: int, name: str) -> None:
    metric = NoiseLossByTimestep(1000)
    metric.update(torch.tensor([0.25]), torch.tensor([t]))
    seen = {key for key, figure in metric.compute().items() if not figure.isnan()}
    assert seen == {"loss_diff", f"loss_diff_{name}"}


def test_bins_equal_a_mask_over_all_samples() -> None:
    metric, (losses, t) = NoiseLossByTimestep(1000), draw(0)
    metric.update(losses, t)
    figures = metric.compute()
    for first, last in metric.ranges:
        expected = losses[(t >= first) & (t <= last)].mean()
        torch.testing.assert_close(figures[f"loss_diff_t{first:04d}_{last:04d}"], expected)


@pytest.mark.parametrize(("steps", "bins"), [(1000, 7), (25, 10), (4, 10), (1, 1)])
def test_ranges_cover_each_time_once_in_bins_of_equal_size(steps: int, bins: int) -> None:
    ranges = NoiseLossByTimestep(steps, bins).ranges
    sizes = {last - first + 1 for first, last in ranges}
    times = [t for first, last in ranges for t in range(first, last + 1)]
    assert times == list(range(1, steps + 1))
    assert max(sizes) - min(sizes) <= 1


def test_empty_bin_has_no_answer() -> None:
    metric = NoiseLossByTimestep(1000, bins=2)
    metric.update(torch.tensor([1.0]), torch.tensor([1]))
    assert metric.compute()["loss_diff_t0501_1000"].isnan()


def test_states_of_two_processes_add_up_to_one_pass() -> None:
    first, second, whole = (NoiseLossByTimestep(1000) for _ in range(3))
    for metric, seed in ((first, 1), (second, 2), (whole, 1), (whole, 2)):
        metric.update(*draw(seed))
    first.merge_state(second)
    for name, figure in whole.compute().items():
        torch.testing.assert_close(first.compute()[name], figure)


def test_losses_in_half_precision_are_summed_in_float32() -> None:
    metric = NoiseLossByTimestep(1000, bins=1)
    metric.update(torch.full((4000,), 1.0, dtype=torch.float16), torch.ones(4000).long())
    metric.update(torch.full((1,), 4001.0, dtype=torch.float16), torch.ones(1).long())
    assert float(metric.loss_sum) == 8000


@pytest.mark.parametrize(("steps", "bins"), [(0, 10), (1000, 0)])
def test_no_steps_or_no_bins_are_refused(steps: int, bins: int) -> None:
    with pytest.raises(ValueError, match="expected at least 1 of each"):
        NoiseLossByTimestep(steps, bins)
