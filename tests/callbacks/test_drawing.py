"""Holds the colours, names and layout of the images."""

import numpy as np
import torch
from PIL import ImageFont

from callbacks.drawing import (
    FILL_OPACITY,
    Panel,
    class_color,
    draw_grid,
    draw_overlay,
    pixels_of,
    tags_of_map,
    wrap_text,
)
from datamodules.transforms import to_tensor

NAMES = ("good", "crack", "stain")


def square_of(class_id: int, *, size_px: int = 64) -> np.ndarray:
    label_map = np.zeros((size_px, size_px), dtype=np.int64)
    label_map[30:50, 20:40] = class_id
    return label_map


def test_pixels_are_the_inverse_of_the_transforms() -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3)
    assert np.array_equal(pixels_of(to_tensor(pixels)), pixels)
    assert np.array_equal(pixels_of(torch.full((3, 2, 2), 9.0)), np.full((2, 2, 3), 255))


def test_region_is_tinted_and_outlined_and_the_rest_left_alone() -> None:
    image = np.full((64, 64, 3), 90, dtype=np.uint8)
    overlay, color = draw_overlay(image, square_of(2), []), np.array(class_color(2))
    assert np.array_equal((overlay != image).any(axis=2), square_of(2) > 0)
    assert np.array_equal(overlay[30, 25], color)
    assert np.allclose(overlay[40, 30], (1 - FILL_OPACITY) * 90 + FILL_OPACITY * color, atol=1)
    assert len({class_color(class_id) for class_id in range(1, 60)}) == 59
    assert draw_overlay(image, square_of(1), [], scale=2.5).shape == (160, 160, 3)


def test_name_is_written_outside_its_region() -> None:
    image = np.full((64, 64, 3), 90, dtype=np.uint8)
    plain = draw_overlay(image, square_of(1), [])
    named = draw_overlay(image, square_of(1), tags_of_map(square_of(1), NAMES))
    changed = (named != plain).any(axis=2)
    assert changed.sum() > 100
    assert not changed[30:50, 20:40].any()


def test_tags_name_each_region_largest_first() -> None:
    label_map = square_of(1)
    label_map[2:5, 2:5] = label_map[10:12, 60:64] = 2
    tags = tags_of_map(label_map, NAMES)
    assert [tag.text for tag in tags] == ["crack", "stain", "stain"]
    assert tags[0].box_xywh_px == (20, 30, 20, 20)


def test_a_crowd_of_names_in_a_tiny_image_is_no_error() -> None:
    label_map = np.kron(np.eye(8, dtype=np.int64), np.ones((2, 2), dtype=np.int64))
    label_map[:, ::3] = 2
    draw_overlay(np.zeros((16, 16, 3), np.uint8), label_map, tags_of_map(label_map, NAMES))
    draw_overlay(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1)), [])


def test_grid_holds_every_panel_of_any_height_and_wraps_captions_to_its_width() -> None:
    caption = "a crack at the upper left of the tile"
    shades = {10: (40, 60), 20: (40, 60), 30: (50, 60)}
    panels = [
        Panel(np.full((*size, 3), shade, np.uint8), caption) for shade, size in shades.items()
    ]
    grid = draw_grid(panels, columns=2, title="title", header=("one", "two"))
    assert 2 * 60 <= grid.shape[1] < 200
    for shade, (height, width) in shades.items():
        assert (grid == shade).all(axis=2).sum() >= height * width
    font = ImageFont.load_default(12)
    lines = wrap_text(caption, font, 70)
    assert " ".join(lines) == caption and all(font.getlength(line) <= 70 for line in lines)
