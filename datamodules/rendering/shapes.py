"""Outlines of defects: how much of each pixel a shape of a wanted area covers.

A coverage is (size_px, size_px) float32 in [0, 1]. How it is coloured is `defects.py`.
"""

import cv2
import numpy as np

OVERSAMPLING = 4
FIXED_POINT_BITS = 4


def smooth_blob(rng: np.random.Generator, size_px: int, area_px: float) -> np.ndarray:
    """One smooth, roughly elliptic patch that lies wholly in the image where it fits."""
    return _fill(_patch_outline(rng, area_px, roughness=0.04, stretch=1.9), rng, size_px)


def disc(rng: np.random.Generator, size_px: int, area_px: float) -> np.ndarray:
    """One nearly round patch."""
    return _fill(_patch_outline(rng, area_px, roughness=0.03, stretch=1.2), rng, size_px)


def ragged_blob(rng: np.random.Generator, size_px: int, area_px: float) -> np.ndarray:
    """One patch with a deeply indented outline and, half the time, splashes beside it."""
    coverage = _fill(_patch_outline(rng, 0.85 * area_px, roughness=0.22, stretch=1.5), rng, size_px)
    rows, columns = np.nonzero(coverage >= 0.5)
    if rng.random() < 0.5 and rows.size > 60:
        for _ in range(rng.integers(1, 5)):
            k = rng.integers(rows.size)
            place = np.array([columns[k], rows[k]]) + rng.normal(0, np.sqrt(area_px) / 3, 2)
            spot = _patch_outline(rng, max(5.0, area_px * 0.03), roughness=0.1, stretch=1.2)
            coverage = np.maximum(coverage, _fill_at(spot, place, size_px))
    return coverage


def specks(rng: np.random.Generator, size_px: int, area_px: float) -> np.ndarray:
    """A few angular grains close together, some of them drawn out in one direction."""
    count = int(rng.integers(1, 5)) if area_px > 45 else 1
    shares = rng.dirichlet(np.full(count, 3.0)) * area_px
    spread = 1.1 * np.sqrt(area_px) if count > 1 else 0.0
    center = _place(rng, size_px, 2.2 * np.sqrt(area_px))
    coverage = np.zeros((size_px, size_px), np.float32)
    for share in shares:
        corners = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(5, 9)))
        radius = np.sqrt(max(share, 6.0)) * rng.uniform(0.6, 1.0, corners.size)
        outline = np.stack([radius * np.cos(corners), radius * np.sin(corners)], axis=1)
        outline = _turn(outline * [rng.uniform(1.0, 1.8), 0.8], rng.uniform(0, np.pi))
        place = center + rng.normal(0, 1, 2) * spread * 0.6
        coverage = np.maximum(coverage, _fill_at(outline, place, size_px))
    return coverage


def strokes(rng: np.random.Generator, size_px: int, area_px: float) -> np.ndarray:
    """One to four nearly straight, nearly parallel lines that thin out at their ends."""
    width_px = max(1.3, rng.uniform(0.009, 0.02) * size_px)
    count = max(1, min(4, int(area_px / (width_px * 0.8 * size_px)) + int(rng.integers(0, 2))))
    angle, center = rng.uniform(0, np.pi), _place(rng, size_px, 0.3 * size_px)
    coverage = np.zeros((size_px, size_px), np.float32)
    for _ in range(count):
        length_px = np.clip(area_px / count / width_px, 8, 1.2 * size_px) * rng.uniform(0.8, 1.2)
        along = np.linspace(-0.5, 0.5, 24)
        bow = rng.normal(0, 0.04) * length_px * (1 - 4 * along**2)
        line = _turn(np.stack([along * length_px, bow], axis=1), angle + rng.normal(0, 0.06))
        line = line + center + rng.normal(0, 0.05 * size_px, 2)
        widths = width_px * np.clip(1.15 - np.abs(2 * along) ** 3, 0.35, 1)
        coverage = np.maximum(coverage, _draw_line(line, widths, size_px))
    return coverage


def branches(rng: np.random.Generator, size_px: int, area_px: float) -> np.ndarray:
    """A jagged line that wanders and forks, thick at its root and thin at its tips."""
    width_px = max(1.5, rng.uniform(0.012, 0.024) * size_px)
    length_px = float(np.clip(area_px / (0.8 * width_px), 10, 1.5 * size_px))
    angle = rng.uniform(0, 2 * np.pi)
    reach = 0.4 * length_px * np.array([np.cos(angle), np.sin(angle)])
    trunk = _jagged_line(rng, _place(rng, size_px, 0.2 * size_px) - reach, angle, length_px * 0.75)
    widths = width_px * np.linspace(1.0, 0.5, len(trunk))
    coverage = _draw_line(trunk, widths, size_px)
    for _ in range(int(rng.integers(0, 4)) if length_px > 25 else 0):
        k = int(rng.integers(len(trunk) // 4, max(len(trunk) // 4 + 1, 3 * len(trunk) // 4)))
        fork = angle + rng.choice([-1, 1]) * rng.uniform(0.4, 1.0)
        twig = _jagged_line(rng, trunk[k], fork, length_px * rng.uniform(0.15, 0.35))
        coverage = np.maximum(
            coverage, _draw_line(twig, widths[k] * np.linspace(0.8, 0.45, len(twig)), size_px)
        )
    return coverage


def edge_chunk(rng: np.random.Generator, size_px: int, area_px: float) -> np.ndarray:
    """A piece with a broken outline at an edge or a corner of the image."""
    side = np.sqrt(area_px)
    corner = rng.random() < 0.4
    radius = 1.12 * side if corner else 0.80 * side
    angles = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    rough = 1 + np.interp(angles, np.linspace(0, 2 * np.pi, 19), rng.uniform(-0.22, 0.22, 19))
    outline = (radius * rough)[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    along = 0.0 if corner else rng.uniform(0.2, 0.8) * size_px
    place = np.array([along, 0.0])
    coverage = _fill_at(outline, place, size_px)
    return np.ascontiguousarray(np.rot90(coverage, int(rng.integers(4))))


def fringe(rng: np.random.Generator, size_px: int, area_px: float) -> np.ndarray:
    """A brush of loose ends rooted in one line: fibres are covered wholly, gaps between by 0.6."""
    depth = np.clip(np.sqrt(area_px) * rng.uniform(0.6, 1.0), 5, 0.4 * size_px)
    breadth = np.clip(1.5 * area_px / depth, 4, size_px)
    left = rng.uniform(0, max(size_px - breadth, 1.0))
    top = -1.0 if rng.random() < 0.75 else rng.uniform(0, max(size_px - 1.2 * depth, 1.0))
    fibres = np.zeros((size_px, size_px), np.float32)
    step = np.linspace(0, 1, 7)
    count = max(4, int(breadth / 1.9))
    for root in np.linspace(0, breadth, count) + rng.normal(0, 0.7, count):
        envelope = 0.4 + 0.6 * np.sin(np.pi * np.clip(root / breadth, 0, 1))
        length = depth * envelope * rng.uniform(0.45, 1.1)
        lean, curl = rng.normal(0, 0.22), rng.normal(0, 0.25)
        line = np.stack(
            [left + root + length * (lean * step + curl * step**2), top + length * step], axis=1
        )
        fibres = np.maximum(fibres, _draw_line(line, np.linspace(1.4, 0.8, 7), size_px))
    reach = 2 * round(max(3.0, size_px / 40) / 2) + 1
    gaps = cv2.morphologyEx(
        (fibres > 0.3).astype(np.float32), cv2.MORPH_CLOSE, np.ones((reach, reach))
    )
    return np.ascontiguousarray(np.rot90(np.maximum(fibres, 0.6 * gaps), int(rng.integers(4))))


def _patch_outline(
    rng: np.random.Generator, area_px: float, *, roughness: float, stretch: float
) -> np.ndarray:
    """A closed curve around (0, 0) that encloses about `area_px`, (64, 2) as x, y."""
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    radius = np.ones(64)
    for harmonic in range(2, 8):
        height = roughness * rng.normal() / harmonic**0.5
        radius += height * np.cos(harmonic * angles + rng.uniform(0, 2 * np.pi))
    radius = np.clip(radius, 0.35, None)
    ratio = np.sqrt(rng.uniform(1, stretch))
    outline = radius[:, None] * np.stack([ratio * np.cos(angles), np.sin(angles) / ratio], axis=1)
    scale = np.sqrt(area_px / (np.pi * np.mean(radius**2)))
    return _turn(outline * scale, rng.uniform(0, np.pi))


def _fill(outline: np.ndarray, rng: np.random.Generator, size_px: int) -> np.ndarray:
    return _fill_at(outline, _place(rng, size_px, float(np.ptp(outline, axis=0).max())), size_px)


def _fill_at(outline: np.ndarray, place: np.ndarray, size_px: int) -> np.ndarray:
    canvas = np.zeros((size_px * OVERSAMPLING,) * 2, np.uint8)
    points = np.round((outline + place) * OVERSAMPLING * 2**FIXED_POINT_BITS).astype(np.int32)
    cv2.fillPoly(canvas, [points], 255, cv2.LINE_AA, FIXED_POINT_BITS)
    return _average_down(canvas, size_px)


def _draw_line(points: np.ndarray, widths_px: np.ndarray, size_px: int) -> np.ndarray:
    canvas = np.zeros((size_px * OVERSAMPLING,) * 2, np.uint8)
    fine = np.round(points * OVERSAMPLING).astype(int)
    for start, end, width_px in zip(fine[:-1], fine[1:], widths_px, strict=False):
        thickness = max(1, round(float(width_px) * OVERSAMPLING))
        cv2.line(canvas, start.tolist(), end.tolist(), 255, thickness)
    return _average_down(canvas, size_px)


def _average_down(canvas: np.ndarray, size_px: int) -> np.ndarray:
    small = cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA)
    return small.astype(np.float32) / 255


def _jagged_line(
    rng: np.random.Generator, start: np.ndarray, angle: float, length_px: float
) -> np.ndarray:
    step_px = max(2.0, length_px / 22)
    count = max(3, int(length_px / step_px))
    drift = angle + np.cumsum(rng.normal(0, 0.16, count)) + rng.normal(0, 0.42, count)
    steps = step_px * np.stack([np.cos(drift), np.sin(drift)], axis=1)
    return start + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def _place(rng: np.random.Generator, size_px: int, extent_px: float) -> np.ndarray:
    """A centre for something `extent_px` long so that it stays inside where it fits."""
    margin = min(0.5 * extent_px + 1, 0.5 * size_px)
    return rng.uniform(margin, size_px - margin, 2)


def _turn(points: np.ndarray, angle: float) -> np.ndarray:
    cosine, sine = np.cos(angle), np.sin(angle)
    return points @ np.array([[cosine, sine], [-sine, cosine]])
