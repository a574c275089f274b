"""Holds distances of features against all pairs and a full sort."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from lightning_modules.metrics import feature_distances
from lightning_modules.metrics.feature_distances import mean_pairwise_distance, nearest_neighbours


def draw(seed: int, count: int) -> torch.Tensor:
    return torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))


def cosine_distances(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    return 1 - F.normalize(first, dim=1) @ F.normalize(second, dim=1).T


def test_mean_distance_equals_all_pairs_one_by_one() -> None:
    features = draw(0, 9)
    pairs = cosine_distances(features, features)[np.triu_indices(9, 1)]
    distance, count = mean_pairwise_distance(features, torch.arange(9))
    assert count == 36
    assert distance == pytest.approx(float(pairs.mean()), abs=1e-6)


def test_views_of_one_picture_are_not_compared() -> None:
    features, origins = draw(1, 4), torch.tensor([7, 3, 7, 3])
    across = cosine_distances(features[[0, 2]], features[[1, 3]])
    distance, count = mean_pairwise_distance(features, origins)
    assert count == 4
    assert distance == pytest.approx(float(across.mean()), abs=1e-6)


def test_one_picture_has_no_diversity() -> None:
    distance, count = mean_pairwise_distance(draw(2, 3), torch.zeros(3, dtype=torch.int64))
    assert np.isnan(distance)
    assert count == 0


@pytest.mark.parametrize("block", [4, 7, 1000])
def test_neighbours_equal_a_full_sort_whatever_the_block(
    block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feature_distances, "QUERY_BLOCK", block)
    monkeypatch.setattr(feature_distances, "REFERENCE_BLOCK", block)
    queries, references = draw(3, 10), draw(4, 30)
    distance, index = nearest_neighbours(queries, references, kept=5)
    expected = cosine_distances(queries, references).sort(dim=1)
    torch.testing.assert_close(distance, expected.values[:, :5])
    assert torch.equal(index, expected.indices[:, :5])


def test_a_set_is_its_own_nearest_neighbour() -> None:
    features = draw(5, 20)
    distance, index = nearest_neighbours(features, features)
    assert index[:, 0].tolist() == list(range(20))
    assert float(distance.max()) < 1e-6
