"""The circuit board, the one material that is drawn as parts and not as a field.

Everything is drawn four times as large and averaged down, so that thin traces have soft edges.
"""

from dataclasses import dataclass

import cv2
import numpy as np

from datamodules.rendering.noise import fractal_noise, shading

OVERSAMPLING = 4
COPPER = (0.16, 0.50, 0.31)
GOLD = (0.80, 0.68, 0.36)
TIN = (0.74, 0.75, 0.76)
INK = (0.88, 0.90, 0.87)
HOLE = (0.05, 0.06, 0.05)
Color = tuple[float, float, float]


def circuit_board(rng: np.random.Generator, size_px: int) -> np.ndarray:
    """Green solder mask with traces, vias, chips and resistors, (size_px, size_px, 3) in [0, 1]."""
    large_px = size_px * OVERSAMPLING
    canvas = np.empty((large_px, large_px, 3), np.float32)
    canvas[:] = np.array([0.05, 0.31, 0.19]) * rng.uniform(0.85, 1.25)
    board = Board(rng, canvas, np.zeros((large_px, large_px), np.float32), large_px / 18)
    for _ in range(11):
        board.route_traces()
    for _ in range(9):
        board.drill_via(rng.integers(0, 19, 2) * board.grid_px)
    board.place_parts()
    image = cv2.resize(canvas, (size_px, size_px), interpolation=cv2.INTER_AREA)
    relief = cv2.resize(board.copper, (size_px, size_px), interpolation=cv2.INTER_AREA)
    light = 1 + 0.35 * shading(1.5 * relief, light_angle=0.8)
    light = light + 0.03 * fractal_noise(rng, size_px, cell_px=size_px / 4)
    noisy = image * light[..., None] + rng.normal(0, 0.008, image.shape)
    return np.clip(noisy, 0, 1).astype(np.float32)


@dataclass
class Board:
    """A board in the making: canvas (H, W, 3), copper (H, W) for its relief, and the grid."""

    rng: np.random.Generator
    canvas: np.ndarray
    copper: np.ndarray
    grid_px: float

    def route_traces(self) -> None:
        """A bundle of one to four parallel traces: straight, a bend of 45 degrees, straight."""
        rng, grid_px = self.rng, self.grid_px
        width_px = max(2, int(grid_px * rng.uniform(0.28, 0.42)))
        row, column = rng.integers(0, 19, 2) * grid_px
        ahead, bend = rng.integers(3, 11) * grid_px, rng.integers(1, 4) * grid_px
        turn = rng.choice([-1, 1])
        upright = rng.random() < 0.5
        points = np.array(
            [[-20 * grid_px, 0], [0, 0], [bend, turn * bend], [bend + ahead, turn * bend]]
        )
        for lane in range(rng.integers(1, 5)):
            path = points + np.array([column, row + lane * grid_px * 0.75])
            path = (path[:, ::-1] if upright else path).astype(np.int32)
            cv2.polylines(self.canvas, [path], False, COPPER, width_px, cv2.LINE_AA)
            cv2.polylines(self.copper, [path], False, 1.0, width_px, cv2.LINE_AA)
            self.drill_via(path[-1][::-1].astype(float))

    def drill_via(self, place: np.ndarray) -> None:
        """A gold ring around a hole."""
        center = (int(place[1]), int(place[0]))
        cv2.circle(self.canvas, center, int(self.grid_px * 0.42), GOLD, -1, cv2.LINE_AA)
        cv2.circle(self.canvas, center, int(self.grid_px * 0.20), HOLE, -1, cv2.LINE_AA)

    def place_parts(self) -> None:
        """One chip and a few resistors and capacitors, kept apart by quarters of the board."""
        rng, grid_px = self.rng, self.grid_px
        quarters = rng.permutation([(3, 3), (3, 11), (11, 3), (11, 11)])
        self.place_chip(quarters[0] * grid_px + rng.integers(-1, 2, 2) * grid_px)
        for quarter in quarters[1 : rng.integers(3, 5)]:
            upright = rng.random() < 0.5
            for lane in range(rng.integers(1, 4)):
                step = np.array([0, lane * 2.2]) if upright else np.array([lane * 2.2, 0])
                self.place_resistor(quarter * grid_px + step * grid_px, upright=upright)

    def place_chip(self, corner: np.ndarray) -> None:
        """A chip with legs, a mark for its first one and two lines of print."""
        grid_px, (top, left) = self.grid_px, corner
        height, width = self.rng.integers(4, 6) * grid_px, self.rng.integers(4, 7) * grid_px
        for k in np.arange(0.5, width / grid_px, 0.8):
            leg = (left + (k - 0.2) * grid_px, 0.4 * grid_px)
            self.fill((top - 0.7 * grid_px, height + 1.4 * grid_px), leg, TIN)
        self.fill((top, height), (left, width), (0.10, 0.10, 0.11))
        self.fill((top, 0.18 * grid_px), (left, width), (0.22, 0.22, 0.23))
        dot = (int(left + 0.7 * grid_px), int(top + height - 0.7 * grid_px))
        cv2.circle(self.canvas, dot, int(0.28 * grid_px), (0.30, 0.30, 0.31), -1, cv2.LINE_AA)
        for line in (0.40, 0.58):
            print_px = (left + 0.18 * width, width * self.rng.uniform(0.4, 0.65))
            self.fill((top + line * height, 0.25 * grid_px), print_px, (0.55, 0.55, 0.54))

    def place_resistor(self, corner: np.ndarray, *, upright: bool) -> None:
        """A dark resistor or a brown capacitor between two tinned ends, framed in ink."""
        grid_px, (top, left) = self.grid_px, corner
        long, short = 2.6 * grid_px, 1.3 * grid_px
        height, width = (long, short) if upright else (short, long)
        border = 0.35 * grid_px
        low = (corner - border).astype(int)[::-1].tolist()
        high = (corner + np.array([height + border, width + border])).astype(int)[::-1].tolist()
        cv2.rectangle(self.canvas, low, high, INK, max(1, int(0.12 * grid_px)), cv2.LINE_AA)
        self.fill((top, height), (left, width), TIN)
        body = (0.12, 0.12, 0.13) if self.rng.random() < 0.6 else (0.60, 0.47, 0.32)
        inset = 0.22 * long
        if upright:
            self.fill((top + inset, height - 2 * inset), (left, width), body)
        else:
            self.fill((top, height), (left + inset, width - 2 * inset), body)

    def fill(self, rows: tuple[float, float], columns: tuple[float, float], color: Color) -> None:
        """A filled rectangle; rows and columns: where it starts, and how long it is."""
        (top, height), (left, width) = rows, columns
        low, high = (int(left), int(top)), (int(left + width), int(top + height))
        cv2.rectangle(self.canvas, low, high, color, -1)
