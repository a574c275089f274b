"""The circuit board, the one material that is drawn as parts and not as a field.

Everything is drawn four times as large and averaged down, so that thin traces have soft edges.
"""

import cv2
import numpy as np

from datamodules.rendering.noise import fractal_noise, shading

OVERSAMPLING = 4
COPPER = (0.16, 0.50, 0.31)
GOLD = (0.80, 0.68, 0.36)
TIN = (0.74, 0.75, 0.76)
INK = (0.88, 0.90, 0.87)
HOLE = (0.05, 0.06, 0.05)


def circuit_board(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Green solder mask with traces, vias, chips and resistors, (size_px, size_px, 3) in [0, 1]."""
    large_px = size_px * OVERSAMPLING
    mask_color = np.array([0.05, 0.31, 0.19]) * rng.uniform(0.85, 1.25)
    canvas = np.empty((large_px, large_px, 3), np.float32)
    canvas[:] = mask_color
    grid_px = large_px / 18
    copper = np.zeros((large_px, large_px), np.float32)
    for _ in range(11):
        _route_trace(rng, canvas, copper, grid_px)
    for _ in range(9):
        _drill_via(canvas, rng.integers(0, 19, 2) * grid_px, grid_px)
    _place_parts(rng, canvas, grid_px)
    image = cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA)
    relief = cv2.resize(copper, (size_px, size_px), interpolation=cv2.INTER_AREA)
    light = 1 + 0.35 * shading(1.5 * relief, light_angle=0.8)
    light = light + 0.03 * fractal_noise(rng, size_px, cell_px=size_px / 4)
    noisy = image * light[..., None] + rng.normal(0, 0.008, image.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)


def _route_trace(
    rng: np.random.Generator, canvas: np.ndarray, copper: np.ndarray, grid_px: float
) -> None:
    """A bundle of one to four parallel traces: straight, a bend of 45 degrees, straight."""
    width_px = max(2, int(grid_px * rng.uniform(0.28, 0.42)))
    row, column = rng.integers(0, 19, 2) * grid_px
    ahead, bend, tail = rng.integers(3, 11) * grid_px, rng.integers(1, 4) * grid_px, 20 * grid_px
    turn = rng.choice([-1, 1])
    upright = rng.random() < 0.5
    points = np.array([[-tail, 0], [0, 0], [bend, turn * bend], [bend + ahead, turn * bend]])
    for lane in range(rng.integers(1, 5)):
        path = points + np.array([column, row + lane * grid_px * 0.75])
        path = (path[:, ::-1] if upright else path).astype(np.int32)
        cv2.polylines(canvas, [path], False, COPPER, width_px, cv2.LINE_AA)
        cv2.polylines(copper, [path], False, 1.0, width_px, cv2.LINE_AA)
        _drill_via(canvas, path[-1][::-1].astype(float), grid_px)


def _drill_via(canvas: np.ndarray, place: np.ndarray, grid_px: float) -> None:
    center = (int(place[1]), int(place[0]))
    cv2.circle(canvas, center, int(grid_px * 0.42), GOLD, -1, cv2.LINE_AA)
    cv2.circle(canvas, center, int(grid_px * 0.20), HOLE, -1, cv2.LINE_AA)


def _place_parts(rng: np.random.Generator, canvas: np.ndarray, grid_px: float) -> None:
    """One chip and a few resistors and capacitors, kept apart by quarters of the board."""
    quarters = rng.permutation([(3, 3), (3, 11), (11, 3), (11, 11)])
    _place_chip(rng, canvas, quarters[0] * grid_px + rng.integers(-1, 2, 2) * grid_px, grid_px)
    for quarter in quarters[1 : rng.integers(3, 5)]:
        start = quarter * grid_px
        upright = rng.random() < 0.5
        for lane in range(rng.integers(1, 4)):
            step = np.array([0, lane * 2.2]) if upright else np.array([lane * 2.2, 0])
            _place_resistor(rng, canvas, start + step * grid_px, grid_px, upright=upright)


def _place_chip(
    rng: np.random.Generator, canvas: np.ndarray, corner: np.ndarray, grid_px: float
) -> None:
    height, width = rng.integers(4, 6) * grid_px, rng.integers(4, 7) * grid_px
    for k in np.arange(0.5, width / grid_px, 0.8):
        left = corner[1] + (k - 0.2) * grid_px
        _rectangle(
            canvas, corner[0] - 0.7 * grid_px, left, height + 1.4 * grid_px, 0.4 * grid_px, TIN
        )
    _rectangle(canvas, corner[0], corner[1], height, width, (0.10, 0.10, 0.11))
    _rectangle(canvas, corner[0], corner[1], 0.18 * grid_px, width, (0.22, 0.22, 0.23))
    dot = (int(corner[1] + 0.7 * grid_px), int(corner[0] + height - 0.7 * grid_px))
    cv2.circle(canvas, dot, int(0.28 * grid_px), (0.30, 0.30, 0.31), -1, cv2.LINE_AA)
    for line in (0.40, 0.58):
        length = width * rng.uniform(0.4, 0.65)
        left = corner[1] + 0.18 * width
        _rectangle(
            canvas, corner[0] + line * height, left, 0.25 * grid_px, length, (0.55, 0.55, 0.54)
        )


def _place_resistor(
    rng: np.random.Generator,
    canvas: np.ndarray,
    corner: np.ndarray,
    grid_px: float,
    *,
    upright: bool,
) -> None:
    long, short = 2.6 * grid_px, 1.3 * grid_px
    height, width = (long, short) if upright else (short, long)
    border = 0.35 * grid_px
    low = (corner - border).astype(int)[::-1].tolist()
    high = (corner + np.array([height + border, width + border])).astype(int)[::-1].tolist()
    cv2.rectangle(canvas, low, high, INK, max(1, int(0.12 * grid_px)), cv2.LINE_AA)
    _rectangle(canvas, corner[0], corner[1], height, width, TIN)
    body = (0.12, 0.12, 0.13) if rng.random() < 0.6 else (0.60, 0.47, 0.32)
    inset = 0.22 * long
    if upright:
        _rectangle(canvas, corner[0] + inset, corner[1], height - 2 * inset, width, body)
    else:
        _rectangle(canvas, corner[0], corner[1] + inset, height, width - 2 * inset, body)


def _rectangle(
    canvas: np.ndarray,
    top: float,
    left: float,
    height: float,
    width: float,
    color: tuple[float, ...],
) -> None:
    low, high = (int(left), int(top)), (int(left + width), int(top + height))
    cv2.rectangle(canvas, low, high, color, -1)
