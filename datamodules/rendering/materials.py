"""Procedural surfaces without defects, each drawn from a random generator alone.

A material is (H, W, 3) float32 RGB in [0, 1]. What goes wrong with it is `defects.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.rendering.boards import circuit_board
from datamodules.rendering.noise import cells, fractal_noise, shading, smooth_noise, streak_noise


@dataclass(frozen=True, slots=True)
class Material:
    """A surface: the words of its caption and the function that draws it."""

    product: str
    material: str
    draw: Callable[[np.random.Generator, int], np.ndarray]


def brushed_metal(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Ground metal: fine parallel streaks under a broad highlight, (size_px, size_px, 3)."""
    tint = _choose(rng, ((0.66, 0.67, 0.69), (0.60, 0.62, 0.66), (0.72, 0.66, 0.52)))
    fine = streak_noise(rng, size_px, length_px=max(9, size_px // 3))
    coarse = streak_noise(rng, size_px, length_px=size_px)
    across = np.linspace(-1, 1, size_px, dtype=np.float32)[None, :]
    highlight = np.exp(-(((across - rng.uniform(-0.6, 0.6)) / rng.uniform(0.35, 0.7)) ** 2))
    light = 0.84 + 0.065 * fine + 0.045 * coarse + 0.26 * highlight
    if rng.random() < 0.5:
        light = light.T
    return _finish(rng, light[..., None] * tint)


def woven_fabric(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Cloth in plain or twill weave with round threads, (size_px, size_px, 3)."""
    pitch = rng.uniform(6.5, 9.5)
    rows, columns = np.mgrid[:size_px, :size_px].astype(np.float32)
    rows = rows + 1.6 * smooth_noise(rng, size_px, cell_px=40)
    columns = columns + 1.6 * smooth_noise(rng, size_px, cell_px=40)
    down, across = rows / pitch, columns / pitch
    step = np.floor(down).astype(int) + np.floor(across).astype(int)
    warp_on_top = step % 2 == 0 if rng.random() < 0.6 else step % 3 != 0
    u, v = 2 * (across % 1) - 1, 2 * (down % 1) - 1
    over, along = np.where(warp_on_top, u, v), np.where(warp_on_top, v, u)
    light = np.sqrt(np.clip(1.02 - over**2, 0, 1)) * (1 - 0.35 * along**2)
    warp_color = _choose(
        rng, ((0.36, 0.46, 0.62), (0.80, 0.75, 0.64), (0.62, 0.30, 0.28), (0.40, 0.50, 0.38))
    )
    weft_color = np.clip(warp_color * rng.choice([0.62, 0.74, 1.18]), 0, 1)
    color = np.where(warp_on_top[..., None], warp_color, weft_color)
    # Every thread of warp and weft has a tone of its own.
    warp, weft = rng.normal(0, 0.045, (2, 512))
    thread = np.where(warp_on_top, warp[across.astype(int) % 512], weft[down.astype(int) % 512])
    fibre = 0.05 * rng.standard_normal((size_px, size_px))
    return _finish(rng, color * (0.34 + 0.80 * light + fibre + thread)[..., None])


def glazed_tile(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Glossy wall tiles with rounded edges in grout, (size_px, size_px, 3)."""
    pitch = rng.uniform(0.42, 0.75) * size_px
    offset_down, offset_across = rng.uniform(0, pitch, 2)
    rows, columns = np.mgrid[:size_px, :size_px].astype(np.float32)
    down, across = (rows + offset_down) / pitch, (columns + offset_across) / pitch
    edge = np.minimum.reduce([down % 1, 1 - down % 1, across % 1, 1 - across % 1]) * pitch
    grout_px = size_px * rng.uniform(0.012, 0.022)
    bevel_px = size_px * 0.035
    height = np.clip((edge - grout_px) / bevel_px, 0, 1)
    relief = shading(
        cv2.GaussianBlur(height * bevel_px, (0, 0), 1.0), light_angle=rng.uniform(0.5, 1.1)
    )
    tone = rng.uniform(-0.05, 0.05, (8, 8))[down.astype(int) % 8, across.astype(int) % 8]
    glaze = _choose(
        rng,
        (
            (0.24, 0.44, 0.58),
            (0.30, 0.56, 0.50),
            (0.86, 0.85, 0.80),
            (0.70, 0.40, 0.28),
            (0.84, 0.72, 0.46),
        ),
    )
    mottle = 0.035 * fractal_noise(rng, size_px, cell_px=size_px / 5)
    # The reflection of a window in every tile.
    center = rng.uniform(0.25, 0.45, 2)
    distance = ((down % 1 - center[0]) / 0.22) ** 2 + ((across % 1 - center[1]) / 0.30) ** 2
    gloss = rng.uniform(0.08, 0.22) * np.exp(-distance)
    tile = glaze * (0.92 + mottle + tone + 0.75 * relief)[..., None] + gloss[..., None]
    grout = 0.52 + 0.05 * rng.standard_normal((size_px, size_px))
    inside = np.clip((edge - grout_px) / 1.2, 0, 1)[..., None]
    return _finish(rng, inside * tile + (1 - inside) * grout[..., None])


def solar_cell(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Blue silicon grains under silver fingers and busbars, (size_px, size_px, 3)."""
    index, _ = cells(rng, size_px, count=110, warp_px=1.5)
    tone = rng.normal(0, 1, 110)[index]
    stripes = (
        0.35 * rng.normal(0, 1, 110)[index] * np.sin(np.mgrid[:size_px, :size_px].sum(0) / 2.2)
    )
    blue = np.array([0.12, 0.22, 0.46])
    light = 1 + 0.17 * np.clip(tone, -2, 2) + 0.07 * stripes
    image = blue * light[..., None] + np.array([0.02, 0.03, 0.02]) * tone[..., None]
    pixels = np.arange(size_px, dtype=np.float32)
    finger_pitch = max(6.0, size_px / 14)
    finger = np.clip(
        1.1 - np.abs((pixels + rng.uniform(0, 8)) % finger_pitch - finger_pitch / 2), 0, 1
    )
    bar_pitch = size_px * rng.uniform(0.42, 0.55)
    bar_px = size_px * 0.022
    phase = rng.uniform(0.2, 0.8) * bar_pitch
    bar = np.clip(bar_px + 0.5 - np.abs((pixels + phase) % bar_pitch - bar_pitch / 2), 0, 1)
    silver = 0.74 + 0.02 * rng.standard_normal((size_px, size_px, 1))
    metal = np.maximum(0.62 * finger[:, None], bar[None, :])[..., None]
    return _finish(rng, image * (1 - metal) + metal * silver)


def leather(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Grained leather: pebbles parted by creases, lit from one side, (size_px, size_px, 3)."""
    count = int(rng.uniform(260, 420) * (size_px / 128) ** 0.5)
    _, border = cells(rng, size_px, count=count, warp_px=2.0)
    pebble = np.sqrt(np.clip(border / 3.2, 0, 1))
    height = 3.2 * pebble + 0.7 * fractal_noise(rng, size_px, cell_px=7)
    relief = shading(cv2.GaussianBlur(height, (0, 0), 0.8), light_angle=rng.uniform(0.4, 1.2))
    hide = _choose(
        rng, ((0.42, 0.26, 0.16), (0.30, 0.17, 0.12), (0.56, 0.38, 0.23), (0.24, 0.23, 0.24))
    )
    broad = 0.06 * smooth_noise(rng, size_px, cell_px=size_px / 3)
    light = 0.72 + 0.34 * pebble + 0.75 * relief + broad
    return _finish(rng, hide * light[..., None] + 0.10 * np.clip(relief, 0, 1)[..., None])


MATERIALS = (
    Material("housing plate", "brushed metal", brushed_metal),
    Material("cloth", "woven cotton", woven_fabric),
    Material("wall tile", "glazed ceramic", glazed_tile),
    Material("solar cell", "polycrystalline silicon", solar_cell),
    Material("circuit board", "glass fibre laminate", circuit_board),
    Material("seat cover", "grained leather", leather),
)


def _choose(rng: np.random.Generator, colors: tuple[tuple[float, float, float], ...]) -> np.ndarray:
    base = np.array(colors[rng.integers(len(colors))])
    return np.clip(base + rng.normal(0, 0.015, 3), 0, 1)


def _finish(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """The surface under uneven room light and through a slightly noisy camera."""
    size_px = image.shape[0]
    ramp = np.linspace(-1, 1, size_px)
    tilt = rng.uniform(-0.07, 0.07, 2)
    light = 1 + tilt[0] * ramp[:, None] + tilt[1] * ramp[None, :]
    noisy = image * light[..., None] + rng.normal(0, 0.009, image.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)
