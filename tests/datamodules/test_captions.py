"""Captions: the template, its inverse, words that follow the mask, and the token limit."""

from collections.abc import Callable

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


def shaped(morphology: str) -> Caption:
    return Caption("tile", defect="crack", morphology=morphology)


def mask_with(rows: slice, columns: slice) -> np.ndarray:
    mask = np.zeros((90, 120), np.uint8)
    mask[rows, columns] = 1
    return mask


CENTRE = mask_with(slice(30, 60), slice(40, 70))


@pytest.mark.parametrize(
    ("caption", "text"),
    [
        (
            FULL,
            "Magnetic tile of ferrite with crack located at the upper left, characterized by "
            "a small elongated area, jagged, potentially caused by thermal stress.",
        ),
        (Caption("tile", defect="crack"), "Tile with crack."),
        (Caption("tile"), "Tile with no defect."),
        (Caption("PCB", "laminate"), "PCB of laminate with no defect."),
        (
            Caption("X-ray panel", defect="hole", cause="a drill"),
            "X-ray panel with hole, potentially caused by a drill.",
        ),
        (
            Caption("roll of cloth", "cotton", "stain", location="the center"),
            "Roll of cloth of cotton with stain located at the center.",
        ),
        (shaped("thin, long"), "Tile with crack, characterized by thin, long."),
    ],
)
def test_render_follows_the_template_and_parse_is_its_inverse(caption: Caption, text: str) -> None:
    assert caption.render() == text
    assert Caption.parse(text) == caption


def test_a_part_of_which_nothing_is_known_is_only_named() -> None:
    assert Caption("tile", "clay", defect="crack").render_part() == "Tile of clay."


@pytest.mark.parametrize("text", ["", "A crack in the tile.", "Tile with crack", "with crack."])
def test_parse_refuses_free_text_in_one_line(text: str) -> None:
    with pytest.raises(ValueError, match="does not follow the template") as error:
        Caption.parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("horizontal", "vertical"), [(True, False), (False, True), (True, True)])
def test_flipped_words_are_the_words_of_the_flipped_mask(horizontal: bool, vertical: bool) -> None:
    mask = mask_with(slice(2, 20), slice(90, 118))
    caption = Caption("tile", defect="crack", location=location_of(mask))
    turned = mask[:: -1 if vertical else 1, :: -1 if horizontal else 1]
    flipped = caption.flipped(horizontal=horizontal, vertical=vertical)
    assert flipped.location == location_of(turned)


def test_flips_change_directions_in_the_shape_words_too() -> None:
    caption = shaped("runs from the left to the bottom")
    flipped = caption.flipped(horizontal=True, vertical=True)
    assert flipped.morphology == "runs from the right to the top"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a small elongated area, jagged", "a medium round area, jagged"),
        ("a small round area with a dark rim", "a medium round area with a dark rim"),
        ("a small round area, open at the left", "a medium round area"),
        ("thin and dark", "thin and dark"),
    ],
)
def test_relocated_words_are_measured_on_the_mask(before: str, after: str) -> None:
    moved = shaped(before).relocated(CENTRE)
    assert (moved.morphology, moved.location) == (after, location_of(CENTRE))


@pytest.mark.parametrize("turn", [np.fliplr, np.flipud, np.rot90])
def test_relocated_words_are_those_of_the_turned_mask(turn: Callable) -> None:
    mask = mask_with(slice(2, 6), slice(70, 118))
    caption = Caption("tile", "", "crack", location_of(mask), morphology_of(mask))
    turned = np.ascontiguousarray(turn(mask))
    moved = caption.relocated(turned)
    assert (moved.location, moved.morphology) == (location_of(turned), morphology_of(turned))
    assert moved != caption


def test_a_defect_that_left_the_image_leaves_a_good_caption() -> None:
    assert FULL.relocated(np.zeros((9, 9), np.uint8)) == Caption("magnetic tile", "ferrite")


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("a small elongated area, jagged", "a small elongated area, jagged"),
        ("a small vertical banded area, jagged", "a small banded area, jagged"),
        ("a small round area, open at the left", "a small round area"),
    ],
)
def test_without_location_no_word_tells_place_or_direction(before: str, after: str) -> None:
    assert shaped(before).without_location().morphology == after
    assert (FULL.without_location().location, FULL.without_location().cause) == ("", FULL.cause)


def count_words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("caption", "limit", "text"),
    [
        (FULL, 19, FULL.render().replace(", potentially caused by thermal stress", "")),
        (FULL, 12, "Magnetic tile of ferrite with crack located at the upper left."),
        (FULL, 8, "Magnetic tile of ferrite with crack."),
        (FULL, 4, "Magnetic tile with crack."),
        (FULL, 1, "crack"),
        (Caption("magnetic tile", "ferrite"), 2, "no defect"),
    ],
)
def test_fields_are_left_out_in_order_and_the_defect_stays(
    caption: Caption, limit: int, text: str
) -> None:
    assert caption.fit(count_words, limit) == (text, True)
    assert caption.fit(count_words, 100) == (caption.render(), False)


@pytest.mark.parametrize(
    ("text", "names", "limit", "cut"),
    [
        (" 1. A  crack.\n", ["crack"], 3, " 1. A  crack.\n"),
        ("In this image of a cell, a crack.", ["crack", "hole"], 5, "crack, hole: In this image"),
        ("a b c", ["crack"], 1, "crack"),
        ("w " * 100, ["crack"], 77, "crack: " + " ".join("w" * 76)),
    ],
)
def test_free_text_that_is_too_long_is_cut_with_the_defect_in_front(
    text: str, names: list[str], limit: int, cut: str
) -> None:
    shortened = defect_first(text, names, count_tokens=count_words, limit=limit)
    assert shortened == (cut, cut != text)


def test_a_defect_that_is_longer_than_the_limit_is_refused() -> None:
    with pytest.raises(ValueError, match="takes 2 tokens: expected at most the text encoder's 1"):
        Caption("tile", defect="missing corner").fit(count_words, 1)
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
def test_sentences_that_tell_a_place_leave_free_text(text: str, kept: str) -> None:
    assert without_places(text) == kept
