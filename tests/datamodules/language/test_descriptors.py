"""Words of place, size and shape: what a mask shows, and that they turn with it."""

import cv2
import numpy as np
import pytest

from datamodules.decode import open_image
from datamodules.language.descriptors import location_of, morphology_of, size_of

Line = tuple[float, float, float, float]
FORK: tuple[Line, ...] = ((0.1, 0.5, 0.5, 0.52), (0.5, 0.52, 0.9, 0.4), (0.5, 0.52, 0.85, 0.65))
CROSS: tuple[Line, ...] = ((0.2, 0.5, 0.8, 0.5), (0.5, 0.2, 0.5, 0.8))
BENT: tuple[Line, ...] = ((0.1, 0.5, 0.3, 0.3), (0.3, 0.3, 0.5, 0.6), (0.5, 0.6, 0.7, 0.3))
RAGGED: tuple[Line, ...] = ((0.1, 0.1, 0.9, 0.9), (0.5, 0.5, 0.54, 0.46), (0.3, 0.3, 0.26, 0.34))
UPRIGHT: tuple[Line, ...] = tuple((x, 0, x, 1) for x in (0.1, 0.3, 0.5, 0.7, 0.9))
ACROSS: tuple[Line, ...] = ((0, 0.5, 1, 0.5),)


def rectangle(top: int, bottom: int, left: int, right: int) -> np.ndarray:
    mask = np.zeros((90, 120), np.uint8)
    mask[top:bottom, left:right] = 1
    return mask


def lines(ends: tuple[Line, ...], width: float = 0.02, side: int = 256) -> np.ndarray:
    """A square mask of straight strokes; ends as shares of the side (x0, y0, x1, y1)."""
    mask = np.zeros((side, side), np.uint8)
    for line in ends:
        x0, y0, x1, y1 = (int(share * side) for share in line)
        cv2.line(mask, (x0, y0), (x1, y1), 1, max(1, int(width * side)))
    return mask


def specks(mask: np.ndarray) -> np.ndarray:
    mask[4:8:2, ::40] = 1
    return mask


def circle(thickness: int, hole: int = 0) -> np.ndarray:
    mask = np.zeros((200, 200), np.uint8)
    cv2.circle(mask, (100, 100), 40, 1, thickness)
    mask[100 - hole : 100 + hole, 100 - hole : 100 + hole] = 0
    return mask


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (rectangle(2, 6, 2, 6), "the upper left"),
        (rectangle(2, 6, 58, 62), "the top"),
        (rectangle(43, 47, 58, 62), "the center"),
        (rectangle(43, 47, 110, 118), "the right"),
        (rectangle(80, 88, 110, 118), "the lower right"),
        (rectangle(0, 90, 0, 90), "most of the surface"),
        (rectangle(2, 8, 2, 8) + rectangle(82, 88, 112, 118), "several places"),
        (rectangle(0, 0, 0, 0), ""),
    ],
)
def test_location_is_the_third_of_the_centroid(mask, words):
    assert location_of(mask) == location_of(mask.astype(bool)) == words


@pytest.mark.parametrize(
    ("pixels", "word"), [(0, ""), (1, "small"), (99, "small"), (100, "medium"), (1001, "large")]
)
def test_sizes_part_at_one_and_ten_percent(pixels, word):
    assert size_of((np.arange(10_000) < pixels).reshape(100, 100)) == word


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (rectangle(0, 0, 0, 0), ""),
        (rectangle(5, 6, 5, 6), "a small round area"),
        (rectangle(10, 12, 10, 50), "a small horizontal elongated area"),
        (rectangle(30, 60, 40, 70), "a medium round area"),
        (rectangle(10, 80, 10, 100), "a large round area"),
        (np.kron(np.eye(4, dtype=int), [[1, 0], [0, 0]]), "medium scattered areas"),
        (lines(FORK, side=64), "a medium branched area"),
        (lines(FORK, side=1024), "a medium branched area"),
        (lines(CROSS), "a medium branched area"),
        (lines(BENT), "a medium irregular area"),
        (lines(RAGGED), "a medium diagonal elongated area"),
        (lines(ACROSS, 0), "a small horizontal elongated area"),
        (lines(((0.1, 0.5, 0.85, 0.5),), 0.08), "a medium horizontal elongated area"),
        (lines(ACROSS, 0.08), "a medium horizontal banded area"),
        (lines(((0, 0, 1, 1),), 0.1), "a large diagonal banded area"),
        (lines(UPRIGHT, 0.05), "large vertical banded areas"),
        (lines((*ACROSS, (0.5, 0, 0.5, 1)), 0.1), "a large branched area"),
        (specks(lines(ACROSS, 0.1)), "a large horizontal banded area"),
        (circle(8), "a medium ring-shaped area"),
        (circle(-1, hole=5), "a large round area"),
    ],
)
def test_shape_follows_parts_moments_holes_and_forks(mask, words):
    assert morphology_of(mask) == words
    assert morphology_of(mask.astype(np.float32) * 3) == words


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.rot90])
@pytest.mark.parametrize(
    "mask", [lines(((0.2, 0.5, 0.7, 0.5),)), lines(((0.3, 0.2, 0.7, 0.6),)), lines(FORK)]
)
def test_shape_words_turn_with_the_mask(mask, turn):
    swapped = {"horizontal": "vertical"} if turn is np.rot90 else {}
    words = [swapped.get(word, word) for word in morphology_of(mask).split()]
    assert morphology_of(turn(mask)).split() == words


def test_real_cracks_are_thin_and_never_round(shared_data):
    paths = sorted((shared_data / "mtd").glob("MT_Crack/Imgs/*.png"))
    words = [morphology_of(open_image(path)[..., 0] > 127) for path in paths]
    assert not [one for one in words if " round " in one]
    assert sum("elongated" in one or "branched" in one for one in words) > len(words) / 2
