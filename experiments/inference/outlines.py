"""Masks -> outlines along the edges of their pixels, for tools that draw polygons.

An outline is (N, 2) corners (x, y) in pixels, closed without repeating the first; pixel (x, y)
covers x to x + 1 and y to y + 1, as in COCO's polygons.
"""

import cv2
import numpy as np

from datamodules.annotation import draw_region
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
    if not mask.any():
        return []
    left, top, width, height = cv2.boundingRect(mask.astype(np.uint8))
    corner = np.array([left, top])
    window = mask[top : top + height, left : left + width].astype(np.uint8)
    # OpenCV's contours run through pixel centres: at twice the size those on either side of an
    # edge, at 2x - 1 and 2x, both become x.
    doubled = window.repeat(2, axis=0).repeat(2, axis=1)
    contours, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    return [_straighten((c[:, 0] + 1) // 2, tolerance_px) + corner for c in contours]


def trace_polygon(mask: np.ndarray) -> np.ndarray:
    """One polygon of few corners around mask (H, W) bool, its holes cut in through slits.

    Its pixels have LEAST_IOU with the mask's; where a tolerance costs more, as in thin cracks, it
    follows them exactly. ValueError for an empty mask.
    """
    if not mask.any():
        raise ValueError("got a mask without any pixel, expected one to draw around")
    for tolerance_px in TOLERANCES_PX:
        polygon = join_rings(trace_rings(mask, tolerance_px=tolerance_px))
        corners = tuple(polygon.ravel().astype(float).tolist())
        size_px = (mask.shape[0], mask.shape[1])
        drawn = draw_region(Region("outline", "polygon", corners), size_px=size_px)
        if (drawn & mask).sum() >= LEAST_IOU * (drawn | mask).sum():
            return polygon
    return join_rings(trace_rings(mask))


def join_rings(rings: list[np.ndarray]) -> np.ndarray:
    """The rings as one polygon; a slit goes there and back along one line and has no area."""
    polygon, *others = sorted(rings, key=lambda ring: -np.ptp(ring, axis=0).prod())
    for ring in others:
        gaps = ((polygon[:, None] - ring[None]) ** 2).sum(axis=2)
        here, there = np.unravel_index(gaps.argmin(), gaps.shape)
        detour = np.concatenate([ring[there:], ring[: there + 1], polygon[here : here + 1]])
        polygon = np.concatenate([polygon[: here + 1], detour, polygon[here + 1 :]])
    return polygon


def _straighten(ring: np.ndarray, tolerance_px: float) -> np.ndarray:
    """The ring without corners that a straight line within the tolerance makes needless."""
    ring = ring[(ring != np.roll(ring, 1, axis=0)).any(axis=1)]
    before, after = ring - np.roll(ring, 1, axis=0), np.roll(ring, -1, axis=0) - ring
    corners = ring[(before != after).any(axis=1)]
    if tolerance_px == 0:
        return corners
    coarse = cv2.approxPolyDP(corners[:, None], tolerance_px, closed=True)[:, 0]
    return coarse if len(coarse) >= DEGENERATE else corners
