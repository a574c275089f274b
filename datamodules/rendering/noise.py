"""Random fields that materials and defects are made of; every one is (H, W) float32.

What they are painted into is `materials.py` and `defects.py`.
"""

import cv2
import numpy as np
from scipy.spatial import cKDTree


def smooth_noise(rng: np.random.Generator, size_px: int, *, cell_px: float) -> np.ndarray:
    """Noise of about unit variance whose hills are `cell_px` wide, (size_px, size_px)."""
    cells = max(2, round(size_px / cell_px)) + 3
    grid = rng.standard_normal((cells, cells)).astype(np.float32)
    large = cv2.resize(grid, None, fx=cell_px, fy=cell_px, interpolation=cv2.INTER_CUBIC)
    top, left = ((length - size_px) // 2 for length in large.shape)
    return np.ascontiguousarray(large[top : top + size_px, left : left + size_px])


def fractal_noise(rng: np.random.Generator, size_px: int, *, cell_px: float) -> np.ndarray:
    """Noise in four octaves, the coarsest `cell_px` wide, each half as high as the one before."""
    sizes_px = [max(1.5, cell_px / 2**k) for k in range(4)]
    octaves = [0.5**k * smooth_noise(rng, size_px, cell_px=s) for k, s in enumerate(sizes_px)]
    return np.stack(octaves).sum(axis=0).astype(np.float32)


def streak_noise(rng: np.random.Generator, size_px: int, *, length_px: int) -> np.ndarray:
    """Noise smeared along the rows over `length_px`, of unit variance."""
    raw = rng.standard_normal((size_px, size_px + length_px)).astype(np.float32)
    smeared = cv2.blur(raw, (length_px, 1))[:, length_px // 2 : length_px // 2 + size_px]
    return smeared / max(float(smeared.std()), 1e-6)


def cells(
    rng: np.random.Generator, size_px: int, *, count: int, warp_px: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """Voronoi cells: the index of each pixel's cell, and the distance to its border in pixels."""
    margin = 0.15 * size_px
    centers = rng.uniform(-margin, size_px + margin, (count, 2))
    rows, columns = np.mgrid[:size_px, :size_px].astype(np.float32)
    if warp_px:
        rows = rows + warp_px * smooth_noise(rng, size_px, cell_px=size_px / 10)
        columns = columns + warp_px * smooth_noise(rng, size_px, cell_px=size_px / 10)
    distance, index = cKDTree(centers).query(np.stack([rows, columns], axis=-1), k=2)
    border = (distance[..., 1] - distance[..., 0]) / 2
    return index[..., 0], border.astype(np.float32)


def shading(height: np.ndarray, *, light_angle: float) -> np.ndarray:
    """How much light a relief of `height` (pixels) catches from one side, about -1 to 1."""
    height = height.astype(np.float32)
    down = cv2.Sobel(height, cv2.CV_32F, 0, 1, ksize=3) / 8
    across = cv2.Sobel(height, cv2.CV_32F, 1, 0, ksize=3) / 8
    slope = np.cos(light_angle) * across + np.sin(light_angle) * down
    return slope / np.sqrt(1 + across**2 + down**2)
