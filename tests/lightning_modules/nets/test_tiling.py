"""Holds that tiled scores are those of the whole image, without seams."""

import itertools

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from lightning_modules.nets.post_processing import ImageScores
from lightning_modules.nets.tiling import (
    ScoreTiles,
    blending_window,
    join_type_scores,
    mirror_index,
    score_images,
    tile_starts,
)


def score_image(image: Tensor, score_tiles: ScoreTiles, **settings: int) -> ImageScores:
    """The scores of one image."""
    return score_images([image], score_tiles, **settings)[0]


def test_one_defective_tile_makes_the_image_defective() -> None:
    tile_scores = torch.tensor([[0.9, 0.05, 0.05], [0.1, 0.8, 0.1]])
    joined = join_type_scores(tile_scores)
    torch.testing.assert_close(joined, torch.tensor([0.1, 0.8, 0.1]))


def test_mirroring_goes_on_past_the_far_edge() -> None:
    index = mirror_index(3, 9)
    assert index[3:6].tolist() == [0, 1, 2]
    assert index.tolist() == [1, 2, 1, 0, 1, 2, 1, 0, 1]


TYPES = 5


def textured(tiles: Tensor) -> tuple[Tensor, Tensor]:
    """Scores of five types that depend on the pixel and on its place in the tile."""
    place = torch.linspace(0, 3, tiles.shape[-1])
    waves = [torch.sin((k + 1) * tiles[:, 0] + place + k * place[:, None]) for k in range(TYPES)]
    return torch.stack(waves, dim=1) / 2 + 0.5, torch.ones(len(tiles), TYPES + 1) / (TYPES + 1)


def blended_at_once(image: Tensor, tile_px: int, overlap_px: int) -> Tensor:
    """(K, H, W) blended scores by the plain formula, all held at once."""
    total, weight = torch.zeros(TYPES, *image.shape[-2:]), torch.zeros(image.shape[-2:])
    starts = [tile_starts(n, tile_px=tile_px, overlap_px=overlap_px) for n in image.shape[-2:]]
    for y, x in itertools.product(*starts):
        window = (slice(y, y + tile_px), slice(x, x + tile_px))
        maps, _ = textured(image[None, :, *window])
        total[:, *window] += maps[0] * blending_window(tile_px)
        weight[window] += blending_window(tile_px)
    return total / weight


def noise_image(height: int, width: int) -> Tensor:
    return torch.rand(3, height, width, generator=torch.Generator().manual_seed(0)) * 2 - 1


def test_overlap_as_wide_as_a_tile_is_refused() -> None:
    with pytest.raises(ValueError, match="overlap is 64 px"):
        score_image(torch.zeros(3, 64, 64), textured, tile_px=64, overlap_px=64, batch_size=1)


@pytest.mark.parametrize("overlap_px", [0, 7, 16, 25])
@pytest.mark.parametrize("size_px", [(150, 70), (70, 150), (33, 32), (97, 97)])
def test_band_by_band_equals_all_at_once(size_px: tuple[int, int], overlap_px: int) -> None:
    image = noise_image(*size_px)
    scores = score_image(image, textured, tile_px=32, overlap_px=overlap_px, batch_size=3)
    expected = blended_at_once(image, 32, overlap_px)
    best = expected.amax(dim=0)
    torch.testing.assert_close(scores.anomaly_map, best, atol=1e-6, rtol=0)
    chosen = expected.gather(0, scores.type_map[None] - 1)[0]
    torch.testing.assert_close(chosen, best, atol=1e-6, rtol=0)


class LargestStack(TorchDispatchMode):
    """Notes the most numbers that any tensor of all five types held."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        result = func(*args, **(kwargs or {}))
        for value in tree_leaves(result):
            if isinstance(value, Tensor) and value.dim() >= 3 and value.shape[-3] == TYPES:
                self.numbers = max(self.numbers, value.numel())
        return result


def largest_stack(height: int, width: int) -> int:
    with LargestStack() as largest:
        score_image(noise_image(height, width), textured, tile_px=32, overlap_px=8, batch_size=2)
    return largest.numbers


@pytest.mark.parametrize("turned", [False, True])
def test_four_times_longer_image_needs_no_larger_band(turned: bool) -> None:
    short, long = ((80, 96), (80, 384)) if turned else ((96, 80), (384, 80))
    assert largest_stack(*short) == largest_stack(*long) == TYPES * 32 * 80


def test_images_of_several_sizes_share_batches_and_score_as_each_alone() -> None:
    images = [noise_image(*size) for size in ((20, 30), (32, 90), (50, 40))]
    settings = {"tile_px": 32, "overlap_px": 8, "batch_size": 4}
    counts: list[int] = []

    def note(tiles: Tensor) -> tuple[Tensor, Tensor]:
        counts.append(len(tiles))
        return textured(tiles)

    together = score_images(images, note, **settings)
    assert counts == [4, 4, 1]
    for image, scores in zip(images, together, strict=True):
        alone = score_image(image, textured, **settings)
        torch.testing.assert_close(scores.anomaly_map, alone.anomaly_map)
        assert scores.anomaly_map.shape == image.shape[1:]
        torch.testing.assert_close(scores.type_scores, alone.type_scores)
