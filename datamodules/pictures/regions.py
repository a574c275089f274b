"""Boxes, polygons and runs of pixels -> masks of class ids.

Where the regions come from is each source's matter; mask files are read by `image_files.py`.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
from pycocotools import mask as coco_mask

from datamodules.sample import Region
from datamodules.vocabulary import Vocabulary

KINDS = ("box", "polygon", "runs")
# Annotation tools round outward: a region may stick out of its picture by so much and is cut.
OVERHANG_PX = 2.0


def check_region(region: Region, *, size_px: tuple[int, int]) -> str:
    """What is wrong with a region in a picture of (height, width), "" for nothing.

    A box without area, one outside the picture, numbers that are not finite or not paired.
    """
    numbers = region.numbers
    place = f"{region.kind} of {region.name!r}"
    if region.kind not in KINDS:
        return f"region kind {region.kind!r} is unknown, expected one of {', '.join(KINDS)}"
    if not region.name:
        return f"a {region.kind} has no name, expected the type of its defect"
    if not all(math.isfinite(number) for number in numbers):
        return f"{place} holds a number that is not finite: {_short(numbers)}"
    if region.kind == "runs":
        return _check_runs(region, size_px)
    if region.kind == "box" and len(numbers) != 4:
        return f"{place} has {len(numbers)} numbers, expected left, top, width, height"
    if region.kind == "polygon" and (len(numbers) < 6 or len(numbers) % 2):
        return f"{place} has {len(numbers)} numbers, expected x and y of three or more corners"
    if region.kind == "box" and min(numbers[2:]) <= 0:
        return f"{place} is {numbers[2]:g} x {numbers[3]:g} px, expected a positive size"
    left, top, right, bottom = bounds_of(region)
    height, width = size_px
    overhang = max(-left, -top, right - width, bottom - height)
    if overhang > OVERHANG_PX:
        return f"{place} {_short(numbers)} lies outside its picture of {width} x {height} px"
    return ""


def draw_regions(
    regions: Iterable[Region], *, vocabulary: Vocabulary, size_px: tuple[int, int]
) -> np.ndarray:
    """The regions as (H, W) class ids, uint8 (uint16 above 256 classes).

    Drawn from the largest to the smallest, so that none hides another. Raises ValueError for a
    region that does not fit a picture of size_px (height, width).
    """
    ids = np.zeros(size_px, dtype=np.uint8 if len(vocabulary) <= 256 else np.uint16)
    drawn = [(draw_region(region, size_px=size_px), region.name) for region in regions]
    for inside, name in sorted(drawn, key=lambda pair: -int(pair[0].sum())):
        ids[inside] = vocabulary.id_of(name)
    return ids


def draw_region(region: Region, *, size_px: tuple[int, int]) -> np.ndarray:
    """The pixels of one region, (H, W) bool; ValueError where it does not fit the picture."""
    problem = check_region(region, size_px=size_px)
    if problem:
        raise ValueError(f"{problem}: correct or remove it")
    height, width = size_px
    if region.kind == "runs":
        inside = np.zeros(height * width, dtype=bool)
        for start, length in _pairs(region.numbers):
            inside[int(start) : int(start + length)] = True
        return inside.reshape(width, height).T
    if region.kind == "box":
        left, top, right, bottom = (round(bound) for bound in bounds_of(region))
        inside = np.zeros(size_px, dtype=bool)
        # A box thinner than a pixel still marks one.
        inside[max(top, 0) : max(bottom, top + 1), max(left, 0) : max(right, left + 1)] = True
        return inside
    # COCO's own rule for which pixels a polygon covers; OpenCV's would add its whole border.
    runs = coco_mask.frPyObjects([list(region.numbers)], height, width)
    return coco_mask.decode(runs)[..., 0].astype(bool)


def bounds_of(region: Region) -> tuple[float, float, float, float]:
    """Left, top, right and bottom of a box or polygon in pixels."""
    if region.kind == "box":
        left, top, width, height = region.numbers
        return left, top, left + width, top + height
    across, down = region.numbers[0::2], region.numbers[1::2]
    return min(across), min(down), max(across), max(down)


def runs_of(mask: np.ndarray) -> tuple[int, ...]:
    """The runs (start, length, ...) of the non-zero pixels of mask (H, W), down its columns."""
    flat = np.concatenate([[0], (mask != 0).T.ravel().astype(np.int8), [0]])
    edges = np.flatnonzero(np.diff(flat))
    starts, ends = edges[0::2], edges[1::2]
    return tuple(np.stack([starts, ends - starts], axis=1).ravel().tolist())


def _check_runs(region: Region, size_px: tuple[int, int]) -> str:
    numbers, pixel_count = region.numbers, size_px[0] * size_px[1]
    place = f"runs of {region.name!r}"
    if not numbers or len(numbers) % 2:
        return f"{place} have {len(numbers)} numbers, expected pairs of start and length"
    end = 0.0
    for start, length in _pairs(numbers):
        if start < end or length <= 0 or start != int(start) or length != int(length):
            return f"{place} hold ({start:g}, {length:g}), expected ascending whole runs"
        end = start + length
    if end > pixel_count:
        return f"{place} end at pixel {end:g} of a picture with {pixel_count} pixels"
    return ""


def _pairs(numbers: Sequence[float]) -> list[tuple[float, float]]:
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def _short(numbers: Sequence[float]) -> str:
    shown = ", ".join(f"{number:g}" for number in numbers[:4])
    return f"({shown}{', ...' if len(numbers) > 4 else ''})"
