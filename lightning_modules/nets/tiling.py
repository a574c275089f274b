"""Scores of an image of any size from a net that sees tiles of one size.

What the scores mean is the net's matter; what becomes of them is in `post_processing.py`.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from lightning_modules.nets.post_processing import ImageScores

ScoreTiles = Callable[[Tensor], tuple[Tensor, Tensor]]


def score_image(
    image: Tensor,
    score_tiles: ScoreTiles,
    *,
    tile_px: int,
    overlap_px: int,
    batch_size: int,
) -> ImageScores:
    """The scores of the whole image, blended without seams from overlapping tiles.

    image: (3, H, W) in [-1, 1], mirrored outwards where it is smaller than a tile.
    score_tiles: tiles (T, 3, s, s) -> maps (T, K, s, s) in [0, 1] and type scores (T, K+1).
    Raises ValueError when `overlap_px` is not in [0, tile_px).
    """
    if not 0 <= overlap_px < tile_px:
        raise ValueError(f"overlap is {overlap_px} px: expected 0 to {tile_px - 1}, under a tile")
    height, width = image.shape[-2:]
    top, left = max(0, tile_px - height) // 2, max(0, tile_px - width) // 2
    padded = pad_by_mirror(image, tile_px)
    corners = [
        (y, x)
        for y in tile_starts(padded.shape[-2], tile_px=tile_px, overlap_px=overlap_px)
        for x in tile_starts(padded.shape[-1], tile_px=tile_px, overlap_px=overlap_px)
    ]
    window = blending_window(tile_px).to(image.device)
    weight = torch.zeros(padded.shape[-2:], device=image.device)
    total: Tensor | None = None
    tile_type_scores = []
    for first in range(0, len(corners), batch_size):
        chosen = corners[first : first + batch_size]
        tiles = torch.stack([padded[:, y : y + tile_px, x : x + tile_px] for y, x in chosen])
        maps, type_scores = score_tiles(tiles)
        tile_type_scores.append(type_scores.float())
        if total is None:
            total = torch.zeros(maps.shape[1], *weight.shape, device=image.device)
        for (y, x), tile_maps in zip(chosen, maps.float(), strict=True):
            total[:, y : y + tile_px, x : x + tile_px] += tile_maps * window
            weight[y : y + tile_px, x : x + tile_px] += window
    assert total is not None
    blended = (total / weight)[:, top : top + height, left : left + width]
    return ImageScores(blended.clamp(0.0, 1.0), join_type_scores(torch.cat(tile_type_scores)))


def join_type_scores(tile_scores: Tensor) -> Tensor:
    """The image's type scores (K+1,): a defect's from its best tile, good's from its worst.

    tile_scores: (T, K+1), each row summing to one; the result is scaled to sum to one again.
    """
    joined = torch.cat([tile_scores[:, :1].amin(dim=0), tile_scores[:, 1:].amax(dim=0)])
    return joined / joined.sum()


def tile_starts(length_px: int, *, tile_px: int, overlap_px: int) -> list[int]:
    """Evenly spaced tile offsets that cover `length_px` with at least `overlap_px` shared."""
    steps = math.ceil((length_px - tile_px) / (tile_px - overlap_px))
    return [round(step * (length_px - tile_px) / steps) for step in range(steps)] + [
        length_px - tile_px
    ]


def blending_window(tile_px: int) -> Tensor:
    """(s, s) weights, a raised cosine: one in the middle, almost zero but positive at the rim."""
    ramp = torch.sin(math.pi * (torch.arange(tile_px) + 0.5) / tile_px) ** 2
    return ramp[:, None] * ramp[None, :]


def pad_by_mirror(image: Tensor, side_px: int) -> Tensor:
    """The image in the middle of at least `side_px` square, mirrored outwards as often as needed.

    image: (3, H, W). Unlike torch's reflect mode it takes images of any size, one pixel too.
    """
    rows, columns = (mirror_index(length, side_px) for length in image.shape[-2:])
    return image[:, rows.to(image.device)][:, :, columns.to(image.device)]


def mirror_index(length_px: int, side_px: int) -> Tensor:
    """Source indices (max(length, side),) of one axis, reflected about the first and last pixel."""
    before = max(0, side_px - length_px) // 2
    place = torch.arange(max(length_px, side_px)) - before
    period = max(1, 2 * (length_px - 1))
    place = place % period
    return torch.minimum(place, period - place) if length_px > 1 else torch.zeros_like(place)
