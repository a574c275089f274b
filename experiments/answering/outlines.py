"""Masks -> outlines along the edges of their pixels, for tools that draw polygons.

An outline is (N, 2) corners (x, y) in pixels, closed without repeating the first; pixel (x, y)
covers x to x + 1 and y to y + 1, as in COCO's polygons.
"""

import cv2
import numpy as np

from datamodules.pictures.regions import draw_region
from datamodules.sample import Region

# The steps of any slanted border lie less than a pixel off the straight line, at 45 degrees 0.71.
TOLERANCES_PX = (1.0, 0.75)
LEAST_IOU = 0.95
DEGENERATE = 3


def trace_rings(mask: np.ndarray, *, tolerance_px: float = 0.0) -> list[np.ndarray]:
    """The outer borders of mask (H, W) bool and those of its holes, each one ring of corners.

    With a tolerance corners are left out and no border moves farther than that; a ring that would
    collapse keeps all of its corners. No rings for an empty mask.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not rows.size:
        return []
    window = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    corner = np.array([columns[0], rows[0]], dtype=np.int32)
    return [_straighten(ring, tolerance_px) + corner for ring in _unit_rings(window)]


def trace_polygon(mask: np.ndarray) -> np.ndarray:
    """One polygon of few corners around mask (H, W) bool, its holes cut in through slits.

    Its pixels have LEAST_IOU with the mask's; where a tolerance costs more, as in thin cracks, it
    follows them exactly. ValueError for an empty mask.
    """
    if not mask.any():
        raise ValueError("got a mask without any pixel, expected one to draw around")
    for tolerance_px in TOLERANCES_PX:
        polygon = join_rings(trace_rings(mask, tolerance_px=tolerance_px))
        if _iou(polygon, mask) >= LEAST_IOU:
            return polygon
    return join_rings(trace_rings(mask))


def join_rings(rings: list[np.ndarray]) -> np.ndarray:
    """The rings as one polygon; a slit goes there and back along one line and has no area."""
    polygon, *others = sorted(rings, key=_box_area, reverse=True)
    for ring in others:
        gaps = ((polygon[:, None] - ring[None]) ** 2).sum(axis=2)
        here, there = np.unravel_index(gaps.argmin(), gaps.shape)
        detour = np.concatenate([ring[there:], ring[: there + 1], polygon[here : here + 1]])
        polygon = np.concatenate([polygon[: here + 1], detour, polygon[here + 1 :]])
    return polygon


def _iou(polygon: np.ndarray, mask: np.ndarray) -> float:
    """Intersection over union of the polygon's pixels and those of mask (H, W) bool."""
    (left, top), (right, bottom) = polygon.min(axis=0), polygon.max(axis=0)
    window = mask[top:bottom, left:right]
    corners = tuple((polygon - (left, top)).ravel().astype(float).tolist())
    size_px = (window.shape[0], window.shape[1])
    drawn = draw_region(Region("outline", "polygon", corners), size_px=size_px)
    shared, all_pixels = (drawn & window).sum(), drawn.sum() + mask.sum()
    return float(shared / (all_pixels - shared))


def _straighten(ring: np.ndarray, tolerance_px: float) -> np.ndarray:
    """The ring without corners that a straight line within the tolerance makes needless."""
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    corners = ring[(before != after).any(axis=1)]
    if tolerance_px == 0:
        return corners
    coarse = cv2.approxPolyDP(corners[:, None], tolerance_px, closed=True)[:, 0]
    return coarse if len(coarse) >= DEGENERATE else corners


def _unit_rings(mask: np.ndarray) -> list[np.ndarray]:
    """The borders as rings of steps of one pixel, the mask always on the right of the way."""
    onward = _steps(mask)
    rings = []
    while onward:
        place = start = next(iter(onward))
        heading = onward[start][0]
        ring = []
        while True:
            ring.append(place)
            # Where two pixels meet at a corner only, turning left holds them together.
            ways = onward[place]
            heading = max(ways, key=lambda way: _leftness(heading, way))
            ways.remove(heading)
            if not ways:
                del onward[place]
            place = (place[0] + heading[0], place[1] + heading[1])
            if place == start:
                break
        rings.append(np.array(ring, dtype=np.int32))
    return rings


def _steps(mask: np.ndarray) -> dict[tuple[int, int], list[tuple[int, int]]]:
    """Corner (x, y) -> the directions in which a border goes on from there."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    # The side of the pixel, from which of its corners, and which way around it.
    sides = (
        (padded[:-2, 1:-1], (0, 0), (1, 0)),
        (padded[1:-1, 2:], (1, 0), (0, 1)),
        (padded[2:, 1:-1], (1, 1), (-1, 0)),
        (padded[1:-1, :-2], (0, 1), (0, -1)),
    )
    onward: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for neighbour, (right, down), way in sides:
        rows, columns = np.nonzero(inside & ~neighbour)
        for y, x in zip(rows.tolist(), columns.tolist(), strict=True):
            onward.setdefault((x + right, y + down), []).append(way)
    return onward


def _leftness(heading: tuple[int, int], way: tuple[int, int]) -> int:
    """1 for a turn to the left on the screen, 0 straight on, -1 to the right."""
    return heading[1] * way[0] - heading[0] * way[1]


def _box_area(ring: np.ndarray) -> int:
    width, height = ring.max(axis=0) - ring.min(axis=0)
    return int(width) * int(height)
