"""Holds that a window shows the mask, that pasting changes only the mask, and drawn masks."""

import numpy as np
import pytest

from experiments.generation.windows import draw_mask, join, soft_inside, window_around


def block(size_px: tuple[int, int], rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros(size_px, dtype=bool)
    mask[rows, columns] = True
    return mask


def numbered(size_px: tuple[int, int]) -> np.ndarray:
    """A image in which every pixel has its own value."""
    return np.arange(size_px[0] * size_px[1]).reshape(size_px)


MASKS = {
    "in the middle": block((200, 300), slice(90, 110), slice(140, 160)),
    "in a corner": block((200, 300), slice(195, 200), slice(0, 4)),
    "of the whole image": block((200, 300), slice(None), slice(None)),
    "wider than the side": block((200, 300), slice(50, 60), slice(10, 211)),
    "in a small image": block((41, 30), slice(3, 9), slice(20, 30)),
    "in an oblong image": block((31, 500), slice(0, 31), slice(480, 500)),
}


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_window_holds_the_whole_mask_and_goes_back_where_it_was(mask: np.ndarray) -> None:
    image, window = numbered(mask.shape), window_around(mask, side_px=64, stride_px=32)
    seen = window.cut_mask(mask)
    assert seen.sum() == mask.sum()
    assert all(side % 32 == 0 and side >= 64 for side in seen.shape)
    cut = window.cut(image)
    assert np.array_equal(window.place(image, cut), image)
    assert np.array_equal(window.cut(window.place(image, -cut)), -cut)


def test_window_has_the_side_asked_for_or_strides_more_around_the_mask() -> None:
    window = window_around(MASKS["in the middle"], side_px=64, stride_px=32)
    assert window.cut(numbered((200, 300))).shape == (64, 64)
    assert (window.rows[0], window.columns[0]) == (100 - 32, 150 - 32)
    window = window_around(MASKS["wider than the side"], side_px=64, stride_px=32)
    assert window.cut(numbered((200, 300))).shape == (64, 224)


def test_small_image_is_mirrored_outwards() -> None:
    window = window_around(block((2, 3), slice(0, 1), slice(0, 1)), side_px=4, stride_px=2)
    assert window.cut(numbered((2, 3))).tolist() == [
        [3, 4, 5, 4], [0, 1, 2, 1], [3, 4, 5, 4], [0, 1, 2, 1]
    ]  # fmt: skip
    assert window.cut_mask(block((2, 3), slice(0, 2), slice(0, 3))).sum() == 6


def test_empty_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="the mask is empty"):
        window_around(np.zeros((40, 40), dtype=bool), side_px=32, stride_px=32)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_pixels_outside_the_mask_are_bit_identical(channels: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    image, painted = rng.integers(0, 256, (2, 50, 60, *channels), dtype=np.uint8)
    mask = block((50, 60), slice(10, 30), slice(20, 45))
    joined = join(image, painted, mask)
    assert joined.dtype == np.uint8
    assert np.array_equal(joined[~mask], image[~mask])
    assert np.array_equal(joined[14:26, 24:41], painted[14:26, 24:41])


def test_seam_rises_inside_a_broad_mask_and_not_at_the_border_or_in_a_hairline() -> None:
    share = soft_inside(block((40, 40), slice(10, 30), slice(10, 30)))
    assert share[20, 9:15].tolist() == pytest.approx([0, 1 / 3, 2 / 3, 1, 1, 1])
    hairline = block((40, 40), slice(20, 22), slice(5, 35))
    assert np.array_equal(soft_inside(hairline), hairline)
    assert soft_inside(block((40, 40), slice(0, 20), slice(0, 40)))[0, 0] == 1
    assert (soft_inside(np.ones((9, 9), dtype=bool)) == 1).all()


@pytest.mark.parametrize("defect", ["crack", "hole", "missing part", "fray", "no known name"])
def test_drawn_mask_fits_image_and_window(defect: str) -> None:
    for number in range(20):
        rng = np.random.default_rng(number)
        mask = draw_mask(rng, (90, 400), defect=defect, side_px=64)
        assert mask.shape == (90, 400) and 20 <= mask.sum() <= 0.5 * 64**2
        assert max(np.ptp(places) for places in np.nonzero(mask)) < 64


def test_drawn_masks_lie_all_over_the_image() -> None:
    drawn = [
        draw_mask(np.random.default_rng(k), (60, 400), defect="hole", side_px=64) for k in range(40)
    ]
    middles = [np.nonzero(mask)[1].mean() for mask in drawn]
    assert min(middles) < 100 and max(middles) > 300


def test_image_too_small_for_a_drawn_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="image is 9 x 8 px: too small to draw a mask of 'hole'"):
        draw_mask(np.random.default_rng(0), (8, 9), defect="hole", side_px=64)
