"""Claims about the fingerprint of a picture and about looking at two of them."""

import cv2
import numpy as np
import pytest

from datamodules.preparing.fingerprints import (
    BROAD,
    FINE,
    THUMBNAIL_PX,
    TURNS,
    Look,
    fingerprint,
    look_at,
    similarity_in_turns,
    similarity_of_pairs,
    turned,
    turned_rows,
)

NOISE = np.random.default_rng(0).integers(0, 256, (60, 90), dtype=np.uint8)
COLOURED = np.dstack([NOISE, NOISE[::-1], NOISE])


def test_grey_and_rgb_with_equal_channels_have_the_same_fingerprint() -> None:
    grey, coloured = fingerprint(NOISE), fingerprint(np.repeat(NOISE[:, :, None], 3, axis=2))
    assert grey.pixel_sha256 == coloured.pixel_sha256
    assert (grey.thumbnail == coloured.thumbnail).all()


def test_one_changed_pixel_changes_the_hash() -> None:
    changed = NOISE.copy()
    changed[7, 7] ^= 1
    assert fingerprint(changed).pixel_sha256 != fingerprint(NOISE).pixel_sha256


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("image", [COLOURED, np.dstack([NOISE] * 3)], ids=["coloured", "grey"])
def test_every_channel_counts(image: np.ndarray, channel: int) -> None:
    changed = image.copy()
    changed[7, 7, channel] ^= 1
    assert fingerprint(changed).pixel_sha256 != fingerprint(image).pixel_sha256


def test_the_same_bytes_in_another_shape_are_another_picture() -> None:
    other = NOISE.reshape(90, 60)
    assert fingerprint(other).pixel_sha256 != fingerprint(NOISE).pixel_sha256


def test_a_view_has_the_fingerprint_of_its_copy() -> None:
    view = COLOURED[::2, ::-1]
    assert fingerprint(view).pixel_sha256 == fingerprint(view.copy()).pixel_sha256


@pytest.mark.parametrize("size_px", [(1, 1), (20, 30), (640, 480)])
def test_thumbnail_is_a_small_grey_square(size_px: tuple[int, int]) -> None:
    thumbnail = fingerprint(np.full((*size_px, 3), 77, np.uint8)).thumbnail
    assert thumbnail.shape == (THUMBNAIL_PX, THUMBNAIL_PX)
    assert thumbnail.dtype == np.uint8
    assert (thumbnail == 77).all()


@pytest.mark.parametrize(
    "image", [NOISE.astype(np.float32), NOISE[None], COLOURED[..., :2], np.zeros((0, 4), np.uint8)]
)
def test_what_is_no_decoded_picture_is_refused(image: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \(H, W\) or \(H, W, 3\)"):
        fingerprint(image)


def test_the_eight_turns_are_all_different() -> None:
    square = np.arange(9).reshape(3, 3)
    assert len({turned(square, turn).tobytes() for turn in range(len(TURNS))}) == 8


def test_turns_do_what_their_names_say() -> None:
    square = np.arange(4).reshape(2, 2)
    assert turned(square, TURNS.index("90")).tolist() == [[1, 3], [0, 2]]
    assert turned(square, TURNS.index("mirrored")).tolist() == [[1, 0], [3, 2]]
    assert turned(square, TURNS.index("mirrored 180")).tolist() == [[2, 3], [0, 1]]


@pytest.mark.parametrize("look", [FINE, BROAD])
@pytest.mark.parametrize("turn", range(8))
def test_looking_at_a_turned_thumbnail_is_turning_the_look(look: Look, turn: int) -> None:
    thumbnail = cv2.resize(NOISE, (THUMBNAIL_PX, THUMBNAIL_PX))[None]
    seen = look_at(np.ascontiguousarray(turned(thumbnail, turn)), look)
    assert seen == pytest.approx(turned_rows(look_at(thumbnail, look), turn), abs=2e-3)


def test_a_look_has_zero_mean_and_unit_length() -> None:
    rows = look_at(cv2.resize(NOISE, (THUMBNAIL_PX, THUMBNAIL_PX))[None], FINE).astype(float)
    assert rows.mean() == pytest.approx(0, abs=1e-4)
    assert np.linalg.norm(rows) == pytest.approx(1, abs=1e-2)


def test_an_even_thumbnail_is_a_row_of_zeros() -> None:
    even = np.full((1, THUMBNAIL_PX, THUMBNAIL_PX), 200, np.uint8)
    assert not look_at(even, FINE).any()


def test_more_light_and_contrast_look_the_same() -> None:
    dark = cv2.resize(NOISE, (THUMBNAIL_PX, THUMBNAIL_PX)) // 2
    rows = look_at(np.stack([dark, dark + 100]), FINE)
    assert similarity_of_pairs(np.array([[0, 1]]), rows, turn=0) == pytest.approx(1, abs=1e-2)


def test_a_quarter_turn_needs_the_inverse_shape() -> None:
    rows = look_at(np.repeat(cv2.resize(NOISE, (48, 48))[None], 2, axis=0), FINE)
    wide_and_high = np.log(np.array([2.0, 0.5]))
    alike = similarity_in_turns(np.array([[0, 1]]), rows, aspects=wide_and_high, tolerance=0.1)
    assert [place for place, value in enumerate(alike[0]) if value > -1] == [1, 3, 5, 7]
