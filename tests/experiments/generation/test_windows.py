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


@pytest.mark.parametrize(
    ("mask", "shape"),
    [
        (block((200, 300), slice(90, 110), slice(140, 160)), (64, 64)),
        (block((200, 300), slice(195, 200), slice(0, 4)), (64, 64)),
        (block((200, 300), slice(None), slice(None)), (224, 320)),
        (block((200, 300), slice(50, 60), slice(10, 211)), (64, 224)),
        (block((31, 500), slice(0, 31), slice(480, 500)), (64, 64)),
    ],
    ids=["middle", "corner", "whole image", "wider than the side", "oblong image"],
)
def test_window_holds_the_whole_mask_and_goes_back_where_it_was(
    mask: np.ndarray, shape: tuple[int, int]
) -> None:
    image, window = numbered(mask.shape), window_around(mask, side_px=64, stride_px=32)
    seen = window.cut_mask(mask)
    assert seen.sum() == mask.sum() and seen.shape == shape
    cut = window.cut(image)
    assert np.array_equal(window.place(image, cut), image)
    assert np.array_equal(window.cut(window.place(image, -cut)), -cut)


def test_small_image_is_mirrored_outwards() -> None:
    window = window_around(block((2, 3), slice(0, 1), slice(0, 1)), side_px=4, stride_px=2)
    assert window.cut(numbered((2, 3))).tolist() == [
        [3, 4, 5, 4], [0, 1, 2, 1], [3, 4, 5, 4], [0, 1, 2, 1]
    ]  # fmt: skip
    assert window.cut_mask(block((2, 3), slice(0, 2), slice(0, 3))).sum() == 6


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


def test_image_too_small_for_a_drawn_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="image is 9 x 8 px: too small to draw a mask of 'hole'"):
        draw_mask(np.random.default_rng(0), (8, 9), defect="hole", side_px=64)
