"""Words of place, size and shape: what a mask shows, and that they turn with it."""

from collections.abc import Callable

import cv2
import numpy as np
import pytest

from datamodules.decode import open_image
from datamodules.language.descriptors import location_of, morphology_of, size_of

SIDE = 256
Line = tuple[float, float, float, float]


def mask_with(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((90, 120), np.uint8)
    mask[rows, columns] = 1
    return mask


def lines(*ends: Line, width: float = 0.02, side: int = SIDE) -> np.ndarray:
    """A square mask of straight strokes; ends as shares of the side (x0, y0, x1, y1)."""
    mask = np.zeros((side, side), np.uint8)
    for line in ends:
        x0, y0, x1, y1 = (int(share * side) for share in line)
        cv2.line(mask, (x0, y0), (x1, y1), 1, max(1, int(width * side)))
    return mask


FORK: tuple[Line, ...] = ((0.1, 0.5, 0.5, 0.52), (0.5, 0.52, 0.9, 0.4), (0.5, 0.52, 0.85, 0.65))
CROSS: tuple[Line, ...] = ((0.2, 0.5, 0.8, 0.5), (0.5, 0.2, 0.5, 0.8))


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        (slice(2, 6), slice(2, 6), "the upper left"),
        (slice(2, 6), slice(58, 62), "the top"),
        (slice(2, 6), slice(110, 118), "the upper right"),
        (slice(43, 47), slice(2, 6), "the left"),
        (slice(43, 47), slice(58, 62), "the center"),
        (slice(43, 47), slice(110, 118), "the right"),
        (slice(80, 88), slice(2, 6), "the lower left"),
        (slice(80, 88), slice(58, 62), "the bottom"),
        (slice(80, 88), slice(110, 118), "the lower right"),
        (slice(0, 90), slice(0, 90), "most of the surface"),
        (slice(0, 0), slice(0, 0), ""),
    ],
)
def test_location_words_name_the_third_of_the_centroid(rows, columns, words):
    assert location_of(mask_with(rows, columns)) == words


def test_spots_in_opposite_corners_are_several_places():
    mask = mask_with(slice(2, 8), slice(2, 8)) + mask_with(slice(82, 88), slice(112, 118))
    assert location_of(mask) == "several places"


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        (slice(10, 12), slice(10, 50), "a small horizontal elongated area"),
        (slice(30, 60), slice(40, 70), "a medium round area"),
        (slice(10, 80), slice(10, 100), "a large round area"),
        (slice(0, 0), slice(0, 0), ""),
    ],
)
def test_shape_words_follow_size_and_moments(rows, columns, words):
    assert morphology_of(mask_with(rows, columns)) == words


def test_many_parts_are_scattered():
    mask = np.zeros((60, 60), np.uint8)
    mask[::20, ::20] = 1
    assert morphology_of(mask) == "small scattered areas"


def test_a_single_pixel_has_a_shape():
    assert morphology_of(mask_with(slice(5, 6), slice(5, 6))) == "a small round area"


@pytest.mark.parametrize(
    ("pixels", "word"), [(0, ""), (1, "small"), (99, "small"), (100, "medium"), (1001, "large")]
)
def test_size_words_part_at_one_and_ten_percent(pixels, word):
    mask = np.zeros(10_000, np.uint8)
    mask[:pixels] = 1
    assert size_of(mask.reshape(100, 100)) == word


@pytest.mark.parametrize("side", [64, 256, 1024])
@pytest.mark.parametrize("strokes", [FORK, CROSS])
def test_a_crack_that_forks_is_branched_at_any_size(side, strokes):
    assert " branched " in morphology_of(lines(*strokes, side=side))


def test_a_bent_crack_is_not_branched():
    bent = lines((0.1, 0.5, 0.3, 0.3), (0.3, 0.3, 0.5, 0.6), (0.5, 0.6, 0.7, 0.3))
    assert morphology_of(bent) == "a medium irregular area"


def test_short_spurs_are_a_ragged_edge_and_no_branches():
    stroke = lines((0.1, 0.1, 0.9, 0.9), (0.5, 0.5, 0.54, 0.46), (0.3, 0.3, 0.26, 0.34))
    assert morphology_of(stroke) == "a medium diagonal elongated area"


def test_a_band_from_side_to_side_is_banded():
    assert morphology_of(lines((0, 0.5, 1, 0.5), width=0.08)) == "a medium horizontal banded area"
    assert morphology_of(lines((0, 0, 1, 1), width=0.1)) == "a large diagonal banded area"


def test_parallel_bands_are_banded_areas():
    bands = lines(*((share, 0, share, 1) for share in (0.1, 0.3, 0.5, 0.7, 0.9)), width=0.05)
    assert morphology_of(bands) == "large vertical banded areas"


def test_crossing_bands_are_not_parallel():
    assert "banded" not in morphology_of(lines((0, 0.5, 1, 0.5), (0.5, 0, 0.5, 1), width=0.1))


def test_specks_beside_a_band_do_not_unmake_it():
    mask = lines((0, 0.5, 1, 0.5), width=0.1)
    mask[4:8:2, ::40] = 1
    assert morphology_of(mask) == "a large horizontal banded area"


def test_a_hairline_from_side_to_side_is_elongated_and_no_band():
    assert morphology_of(lines((0, 0.5, 1, 0.5), width=0)) == "a small horizontal elongated area"


def test_a_bar_that_stops_short_of_the_rim_is_elongated():
    stroke = lines((0.1, 0.5, 0.85, 0.5), width=0.08)
    assert morphology_of(stroke) == "a medium horizontal elongated area"


def test_a_round_area_with_a_big_hole_is_ring_shaped():
    ring, disc = np.zeros((2, 200, 200), np.uint8)
    cv2.circle(ring, (100, 100), 40, 1, 8)
    cv2.circle(disc, (100, 100), 40, 1, -1)
    disc[95:105, 95:105] = 0
    assert morphology_of(ring) == "a medium ring-shaped area"
    assert morphology_of(disc) == "a large round area"


@pytest.mark.parametrize(
    ("mirror", "changes"),
    [
        (np.fliplr, {}),
        (np.flipud, {}),
        (np.rot90, {"horizontal": "vertical", "vertical": "horizontal"}),
    ],
)
@pytest.mark.parametrize(
    "mask",
    [
        lines((0.2, 0.5, 0.7, 0.5)),
        lines((0.3, 0.2, 0.7, 0.6)),
        lines((0.2, 0, 0.2, 1), (0.7, 0, 0.7, 1), width=0.08),
        lines(*FORK),
    ],
)
def test_shape_words_turn_with_the_mask(
    mask: np.ndarray, mirror: Callable[[np.ndarray], np.ndarray], changes: dict[str, str]
):
    words = morphology_of(mask).split()
    turned = [changes.get(word, word) for word in words]
    assert morphology_of(mirror(mask)).split() == turned


def test_words_do_not_depend_on_the_type_of_the_mask():
    mask = lines(*FORK)
    words = {morphology_of(mask.astype(kind) * 3) for kind in (np.uint8, np.int64, np.float32)}
    assert words == {morphology_of(mask), morphology_of(mask.astype(bool))}
    assert location_of(mask.astype(bool)) == location_of(mask.astype(np.int32))


def test_words_of_real_cracks_are_those_of_thin_things(shared_data):
    paths = sorted((shared_data / "mtd").glob("MT_Crack/Imgs/*.png"))
    masks = [open_image(path)[..., 0] > 127 for path in paths]
    round_ones = [mask for mask in masks if " round " in morphology_of(mask)]
    thin = [m for m in masks if any(w in morphology_of(m) for w in ("elongated", "branched"))]
    assert not round_ones
    assert len(thin) > len(masks) / 2
