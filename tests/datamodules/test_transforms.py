"""Augmentations: words follow pixels, ids stay exact, a seed decides all."""

import numpy as np
import pytest
import torch

from datamodules.captions import Caption
from datamodules.language.descriptors import location_of
from datamodules.transforms import (
    GREY,
    Letterbox,
    NativeCrop,
    ResizedCrop,
    Transform,
    WholeSquare,
    change_colours,
    to_pixels,
    to_tensor,
)

LEFT = Caption("tile", defect="crack", location="the left")
BOTH = [NativeCrop(64), ResizedCrop(64), Letterbox(64)]


def part(*, height: int = 90, width: int = 120) -> tuple[np.ndarray, np.ndarray]:
    """A noise image with a white defect of id 3 in the middle of its left third."""
    image = np.random.default_rng(0).integers(0, 200, (height, width, 3), dtype=np.uint8)
    mask = np.zeros((height, width), dtype=np.uint8)
    mask[height // 2 - 6 : height // 2 + 6, 10:22] = 3
    image[mask > 0] = 255
    return image, mask


def flip_only(horizontal: float, vertical: float) -> ResizedCrop:
    return ResizedCrop(
        96,
        horizontal_flip_probability=horizontal,
        vertical_flip_probability=vertical,
        crop_scale=(1.0, 1.0),
        rotation_degrees=0.0,
        color_jitter_bsch=(0.0, 0.0, 0.0, 0.0),
    )


def letterbox_only(**settings: float | tuple[float, float]) -> Letterbox:
    """A letterbox that changes nothing but what is asked for."""
    still = {"scale": (1.0, 1.0), "translate": 0.0, "horizontal_flip_probability": 0.0}
    return Letterbox(60, color_jitter_bsch=(0.0,) * 4, **still | settings)  # type: ignore[arg-type]


def test_letterbox_keeps_the_shape_and_leaves_the_rest_grey_and_without_defect() -> None:
    image, mask = part(height=90, width=120)
    square, ids, _ = letterbox_only()(image, mask, LEFT, has_mask=True, seed=0)
    assert (
        square.shape == (60, 60, 3) and (square[:7] == GREY).all() and (square[53:] == GREY).all()
    )
    assert (square[8:52] != GREY).mean() > 0.9
    rows, columns = np.nonzero(ids)
    assert (rows.min(), rows.max() + 1) == (7 + 20, 7 + 26)  # 39 to 51 of 90, halved and moved
    assert (columns.min(), columns.max() + 1) == (5, 11)


@pytest.mark.parametrize(("zoom", "width"), [(0.5, 15), (1.5, 45)])
def test_letterbox_zooms_and_moves_within_its_bounds(zoom: float, width: int) -> None:
    image = np.full((100, 50), 200, dtype=np.uint8)
    mask = np.ones_like(image)
    still = letterbox_only(scale=(zoom, zoom))(image, mask, LEFT, has_mask=True, seed=0)[1]
    assert abs(still.any(0).sum() - width) <= 1
    places = [
        letterbox_only(scale=(zoom, zoom), translate=0.1)(
            image, mask, LEFT, has_mask=True, seed=seed
        )[1]
        .any(0)
        .nonzero()[0]
        .mean()
        for seed in range(40)
    ]
    assert 3 < max(places) - 29.5 <= 6.5 and -6.5 <= min(places) - 29.5 < -3


def test_mirrored_defect_on_the_left_is_said_to_be_on_the_right() -> None:
    image, mask = part()
    _, turned, caption = flip_only(1.0, 0.0)(image, mask, LEFT, has_mask=True, seed=0)
    assert caption.location == "the right"
    assert np.nonzero(turned)[1].min() > 64


@pytest.mark.parametrize(("degrees", "places"), [(15, {""}), (0, {"the left", "the right"})])
def test_without_a_mask_a_flip_moves_the_place_and_a_turn_drops_it(
    degrees: float, places: set[str]
) -> None:
    image, mask = part()
    turn = ResizedCrop(64, rotation_degrees=degrees, crop_scale=(1.0, 1.0))
    empty = np.zeros_like(mask)
    captions = [turn(image, empty, LEFT, has_mask=False, seed=seed)[2] for seed in range(20)]
    assert {caption.location for caption in captions} == places


def test_turned_defect_is_said_to_be_where_it_is() -> None:
    image, mask = part(height=120)
    mask[:] = 0
    mask[30:36, 100:116] = 3  # just above the lower end of the upper third
    turn = ResizedCrop(96, 0.0, 0.0, crop_scale=(1.0, 1.0))
    upper = Caption("tile", defect="crack", location="the upper right")
    turned = [turn(image, mask, upper, has_mask=True, seed=seed)[1:] for seed in range(20)]
    assert {caption.location for _, caption in turned} == {"the upper right", "the right"}
    assert all(caption.location == location_of(ids) for ids, caption in turned)


@pytest.mark.parametrize("transform", BOTH)
def test_without_a_mask_a_crop_drops_the_place(transform: Transform) -> None:
    image, mask = part()
    _, _, caption = transform(image, np.zeros_like(mask), LEFT, has_mask=False, seed=0)
    assert caption == Caption("tile", defect="crack")


def test_crop_beside_the_defect_is_captioned_as_good() -> None:
    image, mask = part(height=400, width=400)
    crop = NativeCrop(64, defect_probability=0.0)
    found = [crop(image, mask, LEFT, has_mask=True, seed=seed) for seed in range(20)]
    empty = [caption for _, cropped, caption in found if not cropped.any()]
    assert empty
    assert all(caption == Caption("tile") for caption in empty)


@pytest.mark.parametrize("transform", BOTH)
def test_the_seed_alone_decides_and_arguments_are_not_written_to(transform: Transform) -> None:
    image, mask = part()
    image.flags.writeable = mask.flags.writeable = False
    first, again, other = (
        transform(image, mask, LEFT, has_mask=True, seed=seed) for seed in (7, 7, 8)
    )
    assert all(np.array_equal(a, b) for a, b in zip(first[:2], again[:2], strict=True))
    assert first[2] == again[2]
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("transform", BOTH)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_mask_ids_stay_exact(transform: Transform, dtype: type) -> None:
    image, mask = part()
    ids = mask.astype(dtype)
    ids[60:80, 60:100] = 200
    seen = [transform(image, ids, LEFT, has_mask=True, seed=seed)[1] for seed in range(20)]
    assert {int(value) for cropped in seen for value in np.unique(cropped)} == {0, 3, 200}
    assert all(cropped.dtype == dtype for cropped in seen)


@pytest.mark.parametrize("transform", BOTH)
@pytest.mark.parametrize("shape", [(300, 400), (64, 64), (30, 500), (9, 9), (1, 1)])
def test_any_size_gives_the_asked_square(transform: Transform, shape: tuple[int, int]) -> None:
    image = np.full((*shape, 3), 77, dtype=np.uint8)
    mask = np.ones(shape, dtype=np.uint8)
    image, mask, _ = transform(image, mask, LEFT, has_mask=True, seed=0)
    assert (image.shape, mask.shape) == ((64, 64, 3), (64, 64))
    is_filled = isinstance(transform, Letterbox)
    assert is_filled or mask.all(), "reflection leaves no empty border"


@pytest.mark.parametrize("transform", BOTH)
def test_mask_moves_with_the_image(transform: Transform) -> None:
    _, mask = part()
    dark = np.where(mask[:, :, None] > 0, np.uint8(255), np.uint8(0)).repeat(3, axis=2)
    for seed in range(10):
        moved, ids, _ = transform(dark, mask, LEFT, has_mask=True, seed=seed)
        agreement = (moved[:, :, 0] > 120) == (ids > 0)  # over the grey of a letterbox
        assert agreement.mean() > 0.97


def test_crop_on_a_defect_shows_it() -> None:
    image, mask = part(height=300, width=400)
    crop = NativeCrop(64, defect_probability=1.0)
    shown = [crop(image, mask, LEFT, has_mask=True, seed=seed)[1].any() for seed in range(100)]
    assert all(shown)


def test_rare_types_are_cropped_as_often_as_common_ones() -> None:
    image, mask = part(height=300, width=400)
    mask[:, 200:] = 2
    crop = NativeCrop(32, defect_probability=1.0)
    masks = [crop(image, mask, LEFT, has_mask=True, seed=seed)[1] for seed in range(200)]
    assert 0.35 < np.mean([(ids == 3).any() for ids in masks]) < 0.65


def test_crop_without_turn_and_zoom_copies_native_pixels() -> None:
    image, mask = part()
    crop = NativeCrop(
        48,
        scale=(1.0, 1.0),
        horizontal_flip_probability=0.0,
        vertical_flip_probability=0.0,
        rotation_degrees=0.0,
        color_jitter_bsch=(0.0, 0.0, 0.0, 0.0),
    )
    cropped, _, _ = crop(image, mask, LEFT, has_mask=True, seed=5)
    windows = np.lib.stride_tricks.sliding_window_view(image[:, :, 0], (48, 48))
    assert (windows == cropped[:, :, 0]).all(axis=(2, 3)).sum() == 1


@pytest.mark.parametrize(("horizontal", "step"), [(0.0, 1), (1.0, -1)])
def test_whole_image_at_its_own_size_is_itself_or_its_mirror(horizontal: float, step: int) -> None:
    image, mask = part(height=96, width=96)
    moved, ids, _ = flip_only(horizontal, 0.0)(image, mask, LEFT, has_mask=True, seed=0)
    assert (moved == image[:, ::step]).all()
    assert (ids == mask[:, ::step]).all()


@pytest.mark.parametrize("transform", [*BOTH, ResizedCrop(20)])
def test_one_grey_channel_changes_as_three_equal_ones(transform: Transform) -> None:
    image, mask = part()
    grey = np.ascontiguousarray(image[:, :, 0])
    for seed in range(10):
        one, _, _ = transform(grey, mask, LEFT, has_mask=True, seed=seed)
        three, _, _ = transform(np.dstack([grey] * 3), mask, LEFT, has_mask=True, seed=seed)
        assert one.ndim == 2
        assert np.abs(one[:, :, None].astype(int) - three).max() <= 1


@pytest.mark.parametrize("transform", BOTH)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_empty_mask_stays_empty_and_of_its_type(transform: Transform, dtype: type) -> None:
    image, mask = part()
    _, empty, _ = transform(image, np.zeros_like(mask, dtype), LEFT, has_mask=True, seed=0)
    assert not empty.any()
    assert (empty.shape, empty.dtype) == ((64, 64), dtype)


class OnesGenerator:
    """A stand-in generator that draws the upper end of every range."""

    def uniform(self, low: float, high: float, size: int) -> np.ndarray:
        return np.full(size, high)


@pytest.mark.parametrize(
    ("bsch", "expected"),
    [
        ((0.2, 0.0, 0.0, 0.0), (120, 60, 60)),  # brightness: every channel by 1.2
        ((0.0, 0.2, 0.0, 0.0), (107, 47, 47)),  # saturation: grey 64.95 moves away by 1.2
        ((0.0, 0.0, 0.2, 0.0), (107, 47, 47)),  # contrast: the same for a image of one colour
        ((0.0, 0.0, 0.0, 1 / 3), (50, 100, 50)),  # hue: red turns to green
    ],
)
def test_jitter_order_is_brightness_saturation_contrast_hue(
    bsch: tuple[float, float, float, float], expected: tuple[int, int, int]
) -> None:
    image = np.tile(np.array([100, 50, 50], np.uint8), (4, 4, 1))
    changed = change_colours(image, bsch, OnesGenerator())  # type: ignore[arg-type]
    assert np.abs(changed.astype(int) - np.array(expected)).max() <= 1


def test_tensor_spans_minus_one_to_one_and_pixels_are_its_inverse() -> None:
    levels = np.array([[[0, 255, 51]]], dtype=np.uint8)
    assert torch.allclose(to_tensor(levels).flatten(), torch.tensor([-1.0, 1.0, -0.6]), atol=1e-6)
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert torch.equal(to_tensor(grey), to_tensor(np.dstack([grey] * 3)))
    assert to_tensor(grey).is_contiguous()
    assert (to_pixels(to_tensor(part()[0])) == part()[0]).all()
    assert to_pixels(torch.full((3, 2, 2), 1.7)).min() == 255


def test_no_variants_are_refused() -> None:
    with pytest.raises(ValueError, match="variants is 0: expected at least 1"):
        NativeCrop(variants=0)


@pytest.mark.parametrize("channels", [(), (3,)])
def test_whole_square_shows_all_of_the_image_in_its_colours(channels: tuple[int, ...]) -> None:
    image = np.zeros((90, 120, *channels), dtype=np.uint8)
    image[:45, :60] = 200
    mask = (image.reshape(90, 120, -1)[..., 0] > 0).astype(np.uint8) * 3
    square, mask, caption = WholeSquare(64)(image, mask, LEFT, has_mask=True, seed=0)
    assert square.shape == (64, 64, *channels) and caption == LEFT
    assert (mask[:32, :32] == 3).all() and mask.sum() == 3 * 32 * 32
    assert (square[:30, :30] == 200).all() and not square[34:].any()
