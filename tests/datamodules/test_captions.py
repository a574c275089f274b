"""Captions: the template, its inverse, and words that follow the mask."""

import numpy as np
import pytest

from datamodules.captions import Caption, location_of, morphology_of

FULL = Caption(
    product="magnetic tile",
    material="ferrite",
    defect="crack",
    location="the upper left",
    morphology="a small elongated area, jagged",
    cause="thermal stress",
)


def mask_with(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((90, 120), np.uint8)
    mask[rows, columns] = 1
    return mask


def test_render_follows_the_template_of_the_paper():
    assert FULL.render() == (
        "Magnetic tile of ferrite with crack located at the upper left, characterized by "
        "a small elongated area, jagged, potentially caused by thermal stress."
    )


def test_render_leaves_out_empty_fields():
    assert Caption("tile", defect="crack").render() == "Tile with crack."


def test_good_part_has_no_defect_in_words():
    assert Caption("tile", "clay").render() == "Tile of clay with no defect."


@pytest.mark.parametrize(
    "caption",
    [
        FULL,
        Caption("tile"),
        Caption("PCB", "laminate"),
        Caption("X-ray panel", defect="hole", cause="a drill"),
        Caption("roll of cloth", "cotton", "stain", location="the center"),
        Caption("tile", defect="crack", morphology="thin, long"),
    ],
)
def test_parse_is_the_inverse_of_render(caption):
    assert Caption.parse(caption.render()) == caption


@pytest.mark.parametrize("text", ["", "A crack in the tile.", "Tile with crack", "with crack."])
def test_parse_refuses_free_text_in_one_line(text):
    with pytest.raises(ValueError, match="does not follow the template") as error:
        Caption.parse(text)
    assert "\n" not in str(error.value)


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


@pytest.mark.parametrize(("horizontal", "vertical"), [(True, False), (False, True), (True, True)])
def test_flipped_words_are_the_words_of_the_flipped_mask(horizontal, vertical):
    mask = mask_with(slice(2, 20), slice(90, 118))
    caption = Caption("tile", defect="crack", location=location_of(mask))
    turned = mask[:: -1 if vertical else 1, :: -1 if horizontal else 1]
    flipped = caption.flipped(horizontal=horizontal, vertical=vertical)
    assert flipped.location == location_of(turned)


def test_flips_change_directions_in_the_shape_words_too():
    caption = Caption("tile", defect="crack", morphology="runs from the left to the bottom")
    flipped = caption.flipped(horizontal=True, vertical=True)
    assert flipped.morphology == "runs from the right to the top"


def test_relocated_recomputes_location_and_shape():
    moved = FULL.relocated(mask_with(slice(60, 90), slice(80, 120)))
    assert moved.location == "the lower right"
    assert moved.morphology.endswith(" area, jagged")
    assert not moved.morphology.startswith("a small")


def test_relocated_keeps_shape_words_that_no_mask_wrote():
    caption = Caption("tile", defect="crack", morphology="thin and dark")
    assert caption.relocated(mask_with(slice(0, 9), slice(0, 9))).morphology == "thin and dark"


def test_a_defect_that_left_the_picture_leaves_a_good_caption():
    empty = np.zeros((9, 9), np.uint8)
    assert FULL.relocated(empty) == Caption("magnetic tile", "ferrite")


def test_without_location_drops_only_the_location():
    assert FULL.without_location().location == ""
    assert FULL.without_location().cause == FULL.cause


@pytest.mark.parametrize(
    ("rows", "columns", "words"),
    [
        (slice(10, 12), slice(10, 50), "a small elongated area"),
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
