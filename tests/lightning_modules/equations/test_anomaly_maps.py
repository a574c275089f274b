"""Holds what makes maps of oddness: against references, by hand, and at their limits."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch.nn import functional

from lightning_modules.equations.anomaly_maps import (
    blurred,
    farthest_points,
    mahalanobis_distances,
    nearest_distances,
    neighbourhood_mean,
    on_finest_grid,
    patch_embedding,
    precision_of,
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


def embedding_by_hand(maps: list[torch.Tensor], width: int) -> torch.Tensor:
    """SimpleNet's order: places of nine, resized, then averaged, map by map and over all."""
    size, found = maps[0].shape[-2:], []
    for features in maps:
        _, channels, height, columns = features.shape
        padded = functional.pad(features, (1, 1, 1, 1))
        shifted = [
            padded[:, :, y : y + height, x : x + columns] for y in (0, 1, 2) for x in (0, 1, 2)
        ]
        places = torch.stack(shifted, dim=2)  # channel, then row, then column of the nine
        large = functional.interpolate(places.flatten(1, 2), size, mode="bilinear")
        step = 9 * channels // width
        found.append(
            torch.stack([large[:, i * step : (i + 1) * step].mean(1) for i in range(width)])
        )
    joined = torch.cat(found)
    step = len(joined) // width
    means = [joined[i * step : (i + 1) * step].mean(0) for i in range(width)]
    return torch.stack(means, dim=-1)


def test_embedding_of_a_place_is_simple_nets() -> None:
    maps = [noise(2, 4, 6, 5), noise(2, 8, 3, 3)]
    found = patch_embedding(maps, 12)
    assert found.shape == (2, 6, 5, 12)
    torch.testing.assert_close(found, embedding_by_hand(maps, 12), atol=1e-6, rtol=0)


def test_mahalanobis_distance_is_numpys() -> None:
    vectors = noise(50, 4) @ noise(4, 4)
    mean, covariance = vectors.mean(0), vectors.T.cov()
    found = mahalanobis_distances(vectors, mean, precision_of(covariance, share=0.0))
    centred, inverse = (vectors - mean).numpy(), np.linalg.inv(covariance.numpy())
    reference = [float(np.sqrt(one @ inverse @ one)) for one in centred]
    torch.testing.assert_close(found, torch.tensor(reference), atol=1e-3, rtol=1e-3)


def test_share_of_the_mean_variance_bounds_directions_that_never_vary() -> None:
    precision = precision_of(torch.diag(torch.tensor([3.0, 1.0, 0.0])), share=0.3)
    reference = torch.diag(1 / torch.tensor([3.4, 1.4, 0.4]))
    torch.testing.assert_close(precision, reference)
