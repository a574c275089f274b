"""Holds the loss by bins of time against hand-worked bins and edges."""

import pytest
import torch

from lightning_modules.metrics.noise_by_timestep import NoiseLossByTimestep


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
