"""Holds KID against torchmetrics and a hand-worked case."""

import numpy as np
import pytest
import torch
from torchmetrics.image.kid import poly_mmd

from lightning_modules.metrics.kernel_distance import kernel_distance, squared_discrepancy


def draw(seed: int, count: int, *, shift: float = 0.0) -> torch.Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(count, 16, generator=random, dtype=torch.float64) + shift


def test_discrepancy_equals_torchmetrics() -> None:
    first, second = draw(0, 50), draw(1, 50, shift=0.3)
    expected = float(poly_mmd(first, second))
    assert float(squared_discrepancy(first, second)) == pytest.approx(expected, rel=1e-9)


def test_discrepancy_of_two_pairs_is_worked_by_hand() -> None:
    # One feature: kernel (xy + 1)^3. Within {0, 1}: 1; within {1, 2}: 27; across: 1, 1, 8, 27.
    first, second = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    assert float(squared_discrepancy(first, second)) == pytest.approx(1 + 27 - 2 * 37 / 4)


def test_whole_sets_as_subsets_give_one_estimate_without_deviation() -> None:
    first, second = draw(2, 40), draw(3, 40, shift=0.5)
    mean, deviation = kernel_distance(first, second, subsets=3)
    assert mean == pytest.approx(float(squared_discrepancy(first, second)))
    assert deviation == pytest.approx(0, abs=1e-12)


def test_estimate_of_equal_distributions_scatters_around_zero() -> None:
    mean, deviation = kernel_distance(draw(4, 400), draw(5, 400), subset_size=50)
    assert abs(mean) < deviation


def test_estimate_is_not_biased_by_the_number_of_pictures() -> None:
    first, second = draw(6, 2000), draw(7, 2000, shift=0.5)
    few, _ = kernel_distance(first, second, subset_size=20, subsets=400)
    many, _ = kernel_distance(first, second, subset_size=1000, subsets=5)
    assert few == pytest.approx(many, rel=0.1)


def test_one_picture_has_no_answer() -> None:
    assert np.isnan(kernel_distance(draw(8, 1), draw(9, 5))).all()
