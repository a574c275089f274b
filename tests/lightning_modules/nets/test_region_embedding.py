"""Holds the vectors of regions: shapes, frozen weights, what they see and what they don't."""

from pathlib import Path

import pytest
import torch

from lightning_modules.nets.region_embedding import VIEWS, RegionEmbedding, cut_square, turned
from tests.lightning_modules.small_weights import NET, save_net


@pytest.fixture
def embed(tmp_path: Path) -> RegionEmbedding:
    save_net(tmp_path)
    return RegionEmbedding(str(tmp_path / "net.safetensors"), NET, side_px=32)


def box(top: int, left: int, height: int, width: int) -> torch.Tensor:
    """A mask (64, 48) bool."""
    mask = torch.zeros(64, 48, dtype=torch.bool)
    mask[top : top + height, left : left + width] = True
    return mask


def test_regions_become_vectors_in_each_view(embed: RegionEmbedding, seed: int) -> None:
    image = torch.rand(3, 64, 48) * 2 - 1
    vectors = embed(image, [box(20, 20, 9, 6), box(0, 0, 64, 48)], VIEWS)
    assert vectors.shape == (2, VIEWS, embed.width)
    torch.testing.assert_close(embed(image, [box(20, 20, 9, 6)])[0, 0], vectors[0, 0])
    assert vectors.isfinite().all()
    assert embed(image, []).shape == (0, 1, embed.width)
    assert not any(weight.requires_grad for weight in embed.parameters())


def test_a_region_does_not_see_what_lies_far_away(embed: RegionEmbedding, seed: int) -> None:
    image = torch.rand(3, 64, 48) * 2 - 1
    other = image.clone()
    other[:, 40:] = 0
    torch.testing.assert_close(embed(image, [box(8, 8, 8, 8)]), embed(other, [box(8, 8, 8, 8)]))


def test_square_is_twice_the_region_around_its_centre() -> None:
    square = cut_square(torch.zeros(3, 64, 48), box(20, 20, 8, 4), 16)
    assert square.shape == (4, 16, 16)
    assert square[3].nonzero().min(dim=0).values.tolist() == [4, 6]
    assert square[3].sum() == 8 * 4


def test_beyond_the_image_its_border_goes_on_without_mask() -> None:
    square = cut_square(torch.full((3, 64, 48), 0.25), box(0, 0, 8, 8), 16)
    assert (square[:3] == 0.25).all()
    assert square[3].sum() == 64


def test_views_differ() -> None:
    square = torch.arange(9.0).view(1, 3, 3)
    assert len({tuple(turned(square, view).flatten().tolist()) for view in range(VIEWS)}) == VIEWS
