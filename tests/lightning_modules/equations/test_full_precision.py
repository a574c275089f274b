"""Holds equations of small differences to the same figures under 16-bit autocast as without."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from lightning_modules.equations.anomaly_maps import (
    blurred,
    farthest_points,
    mahalanobis_distances,
    nearest_distances,
)
from lightning_modules.equations.restoration import restoration_map, structural_similarity

GENERATOR = torch.Generator().manual_seed(0)


def noise(*size: int) -> Tensor:
    """Numbers that differ little, as features of alike places do."""
    return 1 + 0.05 * torch.rand(*size, generator=GENERATOR)


IMAGES, VECTORS = (noise(2, 3, 40, 40), noise(2, 3, 40, 40)), noise(50, 16)
CASES: dict[str, Callable[[], Tensor]] = {
    "blurred": lambda: blurred(IMAGES[0][:, 0], 2.0),
    "nearest": lambda: nearest_distances(VECTORS[:10], VECTORS[10:]),
    "coreset": lambda: farthest_points(VECTORS, 20),
    "mahalanobis": lambda: mahalanobis_distances(VECTORS, VECTORS.mean(0), torch.eye(16)),
    "ssim": lambda: structural_similarity(*IMAGES),
    "restoration": lambda: restoration_map(*IMAGES),
}


@pytest.mark.parametrize("name", CASES)
def test_equation_is_the_same_under_autocast(name: str) -> None:
    expected = CASES[name]()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(CASES[name](), expected, rtol=1e-5, atol=1e-6)
