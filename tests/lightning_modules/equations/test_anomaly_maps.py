"""Holds what makes maps of oddness: against references, by hand, and at their limits."""

import pytest
import torch
from scipy.ndimage import gaussian_filter

from lightning_modules.equations.anomaly_maps import (
    blurred,
    farthest_points,
    nearest_distances,
    neighbourhood_mean,
    on_finest_grid,
    resize_maps,
)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("shape", "sigma"), [((20, 30), 1.5), ((5, 9), 4.0)])
def test_blur_is_scipys_on_any_size_and_keeps_the_mean(
    shape: tuple[int, int], sigma: float
) -> None:
    maps = noise(2, *shape)
    found = blurred(maps, sigma)
    reference = [torch.from_numpy(gaussian_filter(one.numpy(), sigma)) for one in maps]
    torch.testing.assert_close(found, torch.stack(reference), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.mean((1, 2)), maps.mean((1, 2)), atol=1e-5, rtol=0)
    assert blurred(maps, 0.0) is maps


def test_nearest_is_the_least_of_all_distances_in_parts_too() -> None:
    queries, bank = noise(1500, 7), noise(40, 7)
    reference = torch.cdist(queries, bank).amin(1)
    torch.testing.assert_close(nearest_distances(queries, bank), reference, atol=1e-3, rtol=1e-3)
    assert nearest_distances(bank, bank).max() < 2e-3


def test_coreset_takes_each_cluster_before_any_twice() -> None:
    clusters = torch.eye(5).repeat(20, 1) * 10 + 0.01 * noise(100, 5)
    chosen = farthest_points(clusters, 5)
    assert sorted((chosen % 5).tolist()) == [0, 1, 2, 3, 4]


def test_mean_of_a_place_is_that_of_its_neighbours_inside_the_map() -> None:
    features = noise(2, 3, 4, 5)
    mean = neighbourhood_mean(features)
    torch.testing.assert_close(mean[1, 2, 2, 3], features[1, 2, 1:4, 2:5].mean())
    torch.testing.assert_close(mean[0, 0, 0, 0], features[0, 0, :2, :2].mean())


def test_coarser_maps_are_brought_to_the_first() -> None:
    fine, coarse = noise(2, 3, 8, 8), torch.full((2, 4, 4, 4), 0.5)
    joined = on_finest_grid([fine, coarse])
    assert joined.shape == (2, 7, 8, 8) and joined[:, :3].equal(fine)
    assert joined[:, 3:].eq(0.5).all()
    assert resize_maps(coarse[:, 0], 6).shape == (2, 6, 6)
