"""Holds that tiled scores are those of the whole image, without seams."""

import itertools

import pytest
import torch
from torch import Tensor

from lightning_modules.nets.tiling import (
    join_type_scores,
    mirror_index,
    score_image,
    tile_starts,
)


def brightness(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps that depend on nothing but the pixel, and constant type scores."""
    level = (tiles.mean(dim=1, keepdim=True) + 1) / 2
    type_scores = torch.tensor([0.5, 0.25, 0.25]).expand(len(tiles), 3)
    return torch.cat([level, 1 - level], dim=1), type_scores


def place_in_tile(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """A ramp over each tile: tiles disagree on every pixel that they share."""
    ramp = torch.linspace(0, 1, tiles.shape[-1]).expand(len(tiles), 1, *tiles.shape[-2:])
    return ramp, torch.tensor([[0.5, 0.5]]).expand(len(tiles), 2)


@pytest.mark.parametrize("size_px", [(64, 64), (70, 150), (64, 65), (20, 100), (5, 3), (1, 1)])
def test_pointwise_scores_equal_those_of_the_whole_image(size_px: tuple[int, int]) -> None:
    image = torch.rand(3, *size_px, generator=torch.Generator().manual_seed(0)) * 2 - 1
    scores = score_image(image, brightness, tile_px=64, overlap_px=32, batch_size=3)
    expected, _ = brightness(image[None])
    torch.testing.assert_close(scores.maps, expected[0])
    torch.testing.assert_close(scores.type_scores, torch.tensor([0.5, 0.25, 0.25]))


def test_tiles_that_disagree_are_joined_without_a_seam() -> None:
    image = torch.zeros(3, 64, 200)
    joined = score_image(image, place_in_tile, tile_px=64, overlap_px=32, batch_size=8)
    jumps = joined.maps[0].diff(dim=1).abs()
    assert float(jumps.max()) < 0.06


@pytest.mark.parametrize("length_px", [32, 33, 47, 48, 49, 400])
def test_tiles_cover_the_length_with_the_asked_overlap(length_px: int) -> None:
    starts = tile_starts(length_px, tile_px=32, overlap_px=16)
    assert starts[0] == 0
    assert starts[-1] == length_px - 32
    assert all(0 < second - first <= 16 for first, second in itertools.pairwise(starts))


def test_one_defective_tile_makes_the_image_defective() -> None:
    tile_scores = torch.tensor([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1]])
    joined = join_type_scores(tile_scores)
    torch.testing.assert_close(joined, torch.tensor([0.1, 0.8, 0.1]))


def test_mirroring_goes_on_past_the_far_edge() -> None:
    index = mirror_index(3, 9)
    assert index[3:6].tolist() == [0, 1, 2]
    assert index.tolist() == [1, 2, 1, 0, 1, 2, 1, 0, 1]


def test_overlap_as_wide_as_a_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap is 64 px"):
        score_image(torch.zeros(3, 64, 64), brightness, tile_px=64, overlap_px=64, batch_size=1)
