"""Scores of an image of any size from a net that sees tiles of one size, in constant memory.

What the scores mean is the net's matter; what becomes of them is in `post_processing.py`.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.nets.image_encoder import resized
from lightning_modules.nets.post_processing import ImageScores

ScoreTiles = Callable[[Tensor], tuple[Tensor, Tensor]]


def score_images(
    images: Sequence[Tensor],
    score_tiles: ScoreTiles,
    *,
    tile_px: int,
    overlap_px: int,
    batch_size: int,
) -> list[ImageScores]:
    """The scores of whole images, blended without seams from overlapping tiles.

    images: (3, H, W) in [-1, 1] of any sizes, mirrored outwards where smaller than a tile; tiles of
    several share a batch. score_tiles: tiles (T, 3, s, s) -> maps (T, K, s, s) in [0, 1] and type
    scores (T, K+1). Of an image only one band of tiles is held for all K types; per pixel remain
    12 bytes, the best type and its score. Raises ValueError when `overlap_px` is not in
    [0, tile_px).
    """
    if not 0 <= overlap_px < tile_px:
        raise ValueError(f"overlap is {overlap_px} px: expected 0 to {tile_px - 1}, under a tile")
    tiled = [TiledImage(image, tile_px=tile_px, overlap_px=overlap_px) for image in images]
    places = [(one, corner) for one in tiled for corner in one.corners]
    for first in range(0, len(places), batch_size):
        chosen = places[first : first + batch_size]
        maps, type_scores = score_tiles(
            torch.stack([one.tile_at(corner) for one, corner in chosen])
        )
        for place, (one, corner) in enumerate(chosen):
            one.add(maps[place].float(), type_scores[place].float(), corner)
    return [one.scores() for one in tiled]


def score_whole(
    images: Sequence[Tensor],
    score_tiles: ScoreTiles,
    *,
    tile_px: int,
    overlap_px: int,
    batch_size: int,
) -> list[ImageScores]:
    """The scores of images from a net that sees any size: whole where no side is above a tile's.

    images, score_tiles, ValueError: as `score_images`, which larger images go through.
    """
    scores = []
    for image in images:
        if max(image.shape[-2:]) > tile_px:
            scores += score_images(
                [image],
                score_tiles,
                tile_px=tile_px,
                overlap_px=overlap_px,
                batch_size=batch_size,
            )
        else:
            maps, type_scores = score_tiles(image[None])
            anomaly_map, best = maps[0].float().max(dim=0)
            scores.append(ImageScores(anomaly_map.clamp(0, 1), best + 1, type_scores[0].float()))
    return scores


@torch.no_grad()
def score_squares(
    images: Sequence[Tensor], score_tiles: ScoreTiles, *, side_px: int, batch_size: int
) -> list[ImageScores]:
    """The scores of images from a net that sees each one whole, as a square; each has one type.

    images: (3, H, W) in [-1, 1] of any sizes; score_tiles: squares (T, 3, s, s) -> maps (T, K, h,
    w) in [0, 1] of any size and type scores (T, K+1), whose best name is that of the whole map.
    """
    scores = []
    for first in range(0, len(images), batch_size):
        some = images[first : first + batch_size]
        squares = torch.cat([resized(image[None], side_px) for image in some])
        maps, type_scores = score_tiles(squares)
        best_maps = maps.float().amax(1, keepdim=True)
        for image, one, answer in zip(some, best_maps, type_scores.float(), strict=True):
            larger = functional.interpolate(one[None], image.shape[-2:], mode="bilinear")[0, 0]
            name = int(answer[1:].argmax()) + 1
            types = torch.full_like(larger, name, dtype=torch.int64)
            scores.append(ImageScores(larger.clamp(0, 1), types, answer))
    return scores


class TiledImage:
    """One image on its way through the net: its tiles, and what came back of them.

    corners: (row, column) of the tiles, in the order in which they must come back. A wide image is
    turned, so that the band lies across its shorter side; its tiles are not.
    """

    def __init__(self, image: Tensor, *, tile_px: int, overlap_px: int) -> None:
        self.is_turned = image.shape[-1] > image.shape[-2]
        self.image = image.mT if self.is_turned else image
        self.tile_px = tile_px
        self._rows, self._columns = (
            mirror_index(length, tile_px).to(image.device) for length in self.image.shape[-2:]
        )
        self.corners = [
            (y, x)
            for y in tile_starts(len(self._rows), tile_px=tile_px, overlap_px=overlap_px)
            for x in tile_starts(len(self._columns), tile_px=tile_px, overlap_px=overlap_px)
        ]
        self._band: Band | None = None
        self._type_scores: list[Tensor] = []

    def tile_at(self, corner: tuple[int, int]) -> Tensor:
        """The tile (3, s, s) with this corner, as it lies in the image."""
        y, x = corner
        rows, columns = self._rows[y : y + self.tile_px], self._columns[x : x + self.tile_px]
        tile = self.image[:, rows[:, None], columns]
        return tile.mT if self.is_turned else tile

    def add(self, maps: Tensor, type_scores: Tensor, corner: tuple[int, int]) -> None:
        """Takes the maps (K, s, s) and type scores (K+1,) of the next tile."""
        if self._band is None:
            size = (len(self._rows), len(self._columns))
            self._band = Band(*size, tile_px=self.tile_px, device=self.image.device)
        self._band.add(maps.mT if self.is_turned else maps, *corner)
        self._type_scores.append(type_scores)

    def scores(self) -> ImageScores:
        """The image's scores, after all its tiles came back."""
        assert self._band is not None
        self._band.finish_rows(len(self._rows))
        height, width = self.image.shape[-2:]
        top, left = (max(0, self.tile_px - length) // 2 for length in (height, width))
        inside = (slice(top, top + height), slice(left, left + width))
        maps = [self._band.anomaly_map[inside], self._band.type_map[inside]]
        anomaly_map, type_map = [one.T.contiguous() for one in maps] if self.is_turned else maps
        type_scores = join_type_scores(torch.stack(self._type_scores)).to(self.image.device)
        return ImageScores(anomaly_map, type_map, type_scores)


class Band:
    """Blends tiles that come row by row, and keeps of each finished row its best type alone.

    anomaly_map: (H, W) in [0, 1] and type_map: (H, W) int64 in 1..K, of the rows finished so far.
    The scores of all types fill a ring of as many rows as a tile has.
    """

    def __init__(self, height: int, width: int, *, tile_px: int, device: torch.device) -> None:
        self.anomaly_map = torch.zeros(height, width, device=device)
        self.type_map = torch.ones(height, width, dtype=torch.int64, device=device)
        self.tile_px = tile_px
        self._first_row = 0
        self._window = blending_window(tile_px)
        self._weight = torch.zeros(tile_px, width)
        self._total = torch.zeros(0, tile_px, width)

    def add(self, maps: Tensor, row: int, column: int) -> None:
        """Adds the tile maps (K, s, s) whose corner this is; no later one may lie higher."""
        if len(self._total) == 0:
            self._window, self._weight = self._window.to(maps), self._weight.to(maps)
            self._total = self._weight.repeat(len(maps), 1, 1)
        self.finish_rows(row)
        place = self._ring(row, row + self.tile_px)
        columns = slice(column, column + self.tile_px)
        self._total[:, place, columns] += maps * self._window
        self._weight[place, columns] += self._window

    def finish_rows(self, until: int) -> None:
        """Decides the rows before `until` and frees their place in the ring."""
        if until == self._first_row:
            return
        place = self._ring(self._first_row, until)
        # The weight is the same for all types: the best one can be found before dividing.
        total, best = self._total[:, place].max(dim=0)
        rows = slice(self._first_row, until)
        self.anomaly_map[rows] = (total / self._weight[place]).clamp_(0.0, 1.0)
        self.type_map[rows] = best + 1
        self._total[:, place] = 0.0
        self._weight[place] = 0.0
        self._first_row = until

    def _ring(self, first: int, until: int) -> Tensor:
        """Where the rows of the image lie in the ring."""
        return torch.arange(first, until, device=self._total.device) % self.tile_px


def join_type_scores(tile_scores: Tensor) -> Tensor:
    """The image's type scores (..., K+1): a defect's from its best tile, good's from its worst.

    tile_scores: (..., T, K+1), each row summing to one. Good's score stands, so that the image is
    as defective as its worst tile however many names there are; the names share the rest.
    """
    good, names = tile_scores[..., :1].amin(dim=-2), tile_scores[..., 1:].amax(dim=-2)
    shares = names / names.sum(-1, keepdim=True).clamp(min=torch.finfo(names.dtype).tiny)
    return torch.cat([good, (1 - good) * shares], dim=-1)


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


def mirror_index(length_px: int | Tensor, side_px: int | Tensor) -> Tensor:
    """Source indices (max(length, side),) of one axis, reflected about the first and last pixel.

    The axis lies in the middle of at least `side_px`, mirrored outwards as often as needed: unlike
    torch's reflect mode this takes any length, one pixel too. Lengths may be tensors of no
    dimension, so that an exported graph computes them.
    """
    length, side = torch.as_tensor(length_px), torch.as_tensor(side_px)
    longer = torch.maximum(length, side)
    period = (2 * (length - 1)).clamp(min=1)
    places = torch.arange(longer)  # type: ignore[call-overload]  # a tensor, for graphs
    place = (places - (longer - length) // 2) % period
    return torch.minimum(place, period - place)
