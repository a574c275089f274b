"""Holds what generated images are measured by: torchmetrics' figures, and distances of features."""

import math

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor
from torch.nn import functional

from lightning_modules.metrics import generation
from lightning_modules.metrics.generation import (
    frechet_distance,
    inception_score,
    kernel_distance,
    mean_pairwise_distance,
    nearest_neighbours,
)


def draw(seed: int, count: int = 300, *, shift: float = 0.0) -> Tensor:
    """Correlated features (count, 12)."""
    random = torch.Generator().manual_seed(seed)
    mix = torch.randn(12, 12, generator=random)
    return torch.randn(count, 12, generator=random) @ mix + shift


def cosine_distances(first: Tensor, second: Tensor) -> Tensor:
    return 1 - functional.normalize(first, dim=1) @ functional.normalize(second, dim=1).T


def test_frechet_distance_equals_scipys_matrix_root() -> None:
    real, generated = draw(0).double().numpy(), draw(1, shift=0.5).double().numpy()
    first, second = np.cov(real.T), np.cov(generated.T)
    shift = ((real.mean(0) - generated.mean(0)) ** 2).sum()
    expected = shift + np.trace(first + second - 2 * linalg.sqrtm(first @ second).real)
    found = frechet_distance(torch.from_numpy(real), torch.from_numpy(generated))
    assert found == pytest.approx(expected, rel=1e-6)


def test_kernel_distance_of_two_pairs_is_worked_by_hand() -> None:
    # One feature: kernel (xy + 1)^3. Within {0, 1}: 1; within {1, 2}: 27; across: 1, 1, 8, 27.
    first, second = torch.tensor([[0.0], [1.0]]), torch.tensor([[1.0], [2.0]])
    mean, deviation = kernel_distance(first, second, subsets=3)
    assert (mean, deviation) == pytest.approx((1 + 27 - 2 * 37 / 4, 0))


def test_sure_and_evenly_spread_classes_score_their_number() -> None:
    assert inception_score(200 * torch.eye(4).repeat(5, 1))[0] == pytest.approx(4)


def test_subsets_follow_from_the_seed_and_leave_the_global_random_numbers() -> None:
    before = torch.get_rng_state()
    for figure in (
        lambda seed: kernel_distance(draw(0), draw(1), subset_size=9, subsets=5, seed=seed),
        lambda seed: inception_score(draw(0, 2001), seed=seed),
    ):
        assert figure(1) == figure(1) != figure(2)
    assert torch.get_rng_state().equal(before)


def test_one_image_has_no_answer() -> None:
    assert math.isnan(frechet_distance(draw(5), draw(6, 1)))
    assert all(map(math.isnan, kernel_distance(draw(8, 1), draw(9, 5))))
    distance, count = mean_pairwise_distance(draw(2, 3), torch.zeros(3, dtype=torch.int64))
    assert math.isnan(distance) and count == 0


def test_mean_distance_equals_all_pairs_of_different_images() -> None:
    features = draw(0, 9)
    pairs = cosine_distances(features, features)[np.triu_indices(9, 1)]
    distance, count = mean_pairwise_distance(features, torch.arange(9))
    assert (distance, count) == (pytest.approx(float(pairs.mean()), abs=1e-6), 36)
    across = cosine_distances(features[[0, 2]], features[[1, 3]])
    distance, count = mean_pairwise_distance(features[:4], torch.tensor([7, 3, 7, 3]))
    assert (distance, count) == (pytest.approx(float(across.mean()), abs=1e-6), 4)


@pytest.mark.parametrize("block", [4, 1000])
def test_neighbours_equal_a_full_sort_whatever_the_block(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generation, "QUERY_BLOCK", block)
    queries, references = draw(3, 10), draw(4, 30)
    distance, index = nearest_neighbours(queries, references, kept=5)
    expected = cosine_distances(queries, references).sort(dim=1)
    torch.testing.assert_close(distance, expected.values[:, :5])
    assert torch.equal(index, expected.indices[:, :5])
