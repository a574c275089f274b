"""Captions: the template, its inverse, words that follow the mask, and the token limit."""

import numpy as np
import pytest

from datamodules.captions import Caption, defect_first, without_places
from datamodules.language.descriptors import location_of, morphology_of

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


def test_a_part_of_which_nothing_is_known_is_only_named():
    assert Caption("tile", "clay", defect="crack").render_part() == "Tile of clay."


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


def test_without_location_drops_the_direction_of_the_shape():
    caption = Caption("tile", defect="crack", morphology="a small vertical banded area, jagged")
    assert caption.without_location().morphology == "a small banded area, jagged"


def test_phrases_of_place_that_no_mask_wrote_are_dropped_when_the_picture_moves():
    caption = Caption("tile", defect="crack", morphology="a small round area, open at the left")
    assert caption.without_location().morphology == "a small round area"
    moved = caption.relocated(mask_with(slice(30, 60), slice(40, 70)))
    assert moved.morphology == "a medium round area"


def test_what_belongs_to_the_shape_phrase_stays_with_it():
    caption = Caption("tile", defect="pore", morphology="a small round area with a dark rim")
    moved = caption.relocated(mask_with(slice(30, 60), slice(40, 70)))
    assert moved.morphology == "a medium round area with a dark rim"


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.rot90])
def test_relocated_words_are_those_of_the_turned_mask(turn):
    mask = mask_with(slice(2, 6), slice(70, 118))
    caption = Caption("tile", "", "crack", location_of(mask), morphology_of(mask))
    turned = np.ascontiguousarray(turn(mask))
    moved = caption.relocated(turned)
    assert (moved.location, moved.morphology) == (location_of(turned), morphology_of(turned))
    assert moved != caption


def count_words(text: str) -> int:
    return len(text.split())


def test_a_caption_that_fits_is_not_shortened():
    assert FULL.fit(count_words, 100) == (FULL.render(), False)


@pytest.mark.parametrize(
    ("limit", "text"),
    [
        (
            19,
            "Magnetic tile of ferrite with crack located at the upper left, characterized by "
            "a small elongated area, jagged.",
        ),
        (12, "Magnetic tile of ferrite with crack located at the upper left."),
        (8, "Magnetic tile of ferrite with crack."),
        (4, "Magnetic tile with crack."),
        (1, "crack"),
    ],
)
def test_fields_are_left_out_in_order_and_the_defect_stays(limit, text):
    assert FULL.fit(count_words, limit) == (text, True)


def test_a_defect_that_is_longer_than_the_limit_is_refused():
    with pytest.raises(ValueError, match="takes 2 tokens: expected at most the text encoder's 1"):
        Caption("tile", defect="missing corner").fit(count_words, 1)


def test_a_good_part_says_so_at_any_length():
    assert Caption("magnetic tile", "ferrite").fit(count_words, 2) == ("no defect", True)


def test_free_text_that_fits_stays_verbatim():
    text = " 1. A  crack.\n"
    assert defect_first(text, ["crack"], count_tokens=count_words, limit=3) == (text, False)


def test_cut_text_has_the_defect_in_front_and_ends_after_a_word():
    text = "In this image of the solar sector, a cell shows a crack."
    cut, is_cut = defect_first(text, ["crack", "hole"], count_tokens=count_words, limit=5)
    assert (cut, is_cut) == ("crack, hole: In this image", True)


def test_cut_text_uses_every_token_it_may():
    text = " ".join(f"word{number}" for number in range(100))
    cut, _ = defect_first(text, ["crack"], count_tokens=count_words, limit=77)
    assert count_words(cut) == 77


def test_cut_text_without_room_for_more_is_the_defect():
    assert defect_first("a b c", ["crack"], count_tokens=count_words, limit=1) == ("crack", True)


def test_names_that_are_longer_than_the_limit_are_refused():
    with pytest.raises(ValueError, match="shorten the name"):
        defect_first("a b c d", ["missing corner"], count_tokens=count_words, limit=1)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("A crack. It runs from top left to bottom right. It is deep.", "A crack. It is deep."),
        ("Cracks run diagonally.", ""),
        ("A defect in the center-left part, from (X1: 1.5) to (X2: 2.5).", ""),
        ("A copper plate, upright, with a stopper.", "A copper plate, upright, with a stopper."),
    ],
)
def test_sentences_that_tell_a_place_leave_free_text(text, kept):
    assert without_places(text) == kept
