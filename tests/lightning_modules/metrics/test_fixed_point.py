"""Holds that shares as whole numbers add up alike in any order, and to what they stand for."""

import pytest
import torch

from lightning_modules.metrics.segmentation import from_units, to_units


def test_sum_is_the_same_in_any_order_where_that_of_floats_is_not() -> None:
    shares = torch.rand(10_000, generator=torch.Generator().manual_seed(0))
    turned = shares.flip(0)
    assert sum(to_units(shares)) == sum(to_units(turned))
    assert sum(shares) != sum(turned)


def test_mean_of_many_is_right_to_nine_digits() -> None:
    shares = torch.rand(10_000, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    mean = from_units(to_units(shares).sum()) / len(shares)
    assert float(mean) == pytest.approx(float(shares.mean()), abs=1e-9)


def test_a_million_images_fill_a_thousandth_of_the_range() -> None:
    million = to_units(torch.ones(1)) * 1_000_000
    assert float(from_units(million)) == 1_000_000
    assert torch.iinfo(torch.int64).max > 1000 * int(million)
