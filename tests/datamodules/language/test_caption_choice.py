"""Which caption a sample gets, and that it fits the text encoder."""

from dataclasses import replace

import pytest

from datamodules.captions import Caption
from datamodules.language.caption_choice import CaptionChoice
from datamodules.sample import UNLABELLED, Record

CAPTION = Caption("plate", "steel", "crack", "the left", "a small round area", "stress")
RELEASED = "A crack runs over the plate. It lies at the left. The steel is grey."
RECORD = Record("a.png", "", (), ("crack",), CAPTION, "a", "parts", released_caption=RELEASED)


def caption_by(choice: CaptionChoice, *, moved: bool = False, seed: int = 0) -> str:
    return choice.caption_of(CAPTION, RECORD, shown=("crack",), moved=moved, seed=seed)


def count_words(text: str) -> int:
    return len(text.split())


@pytest.mark.parametrize(
    ("choice", "moved", "seed", "caption"),
    [
        ("built", False, 1, CAPTION.render()),
        ("released", False, 0, RELEASED),
        ("released", True, 0, "A crack runs over the plate. The steel is grey."),
        ("both", False, 6, CAPTION.render()),
        ("both", False, 7, RELEASED),
    ],
)
def test_choice_decides_and_a_moved_image_has_no_places(choice, moved, seed, caption):
    assert caption_by(CaptionChoice(choice), moved=moved, seed=seed) == caption


def test_crop_without_a_named_type_has_the_built_caption():
    choice = CaptionChoice("released")
    words = choice.caption_of(CAPTION, RECORD, shown=("stain",), moved=True, seed=0)
    assert words.startswith("Plate of steel with stain") and "stress" not in words


def test_unlabelled_image_is_not_called_good():
    record = replace(RECORD, split=UNLABELLED, defects=(), released_caption="")
    choice, caption = CaptionChoice(), Caption("plate", "steel")
    words = choice.caption_of(caption, record, shown=(), moved=False, seed=0)
    assert words == "Plate of steel."


@pytest.mark.parametrize("words", ["built", "released"])
def test_long_caption_keeps_the_defect_and_says_once_that_it_was_cut(words, caplog):
    choice = CaptionChoice(words, count_words, 8)
    captions = [caption_by(choice), caption_by(choice)]
    assert count_words(captions[0]) <= 8 and "crack" in captions[0]
    assert choice.shortened_count == 2
    assert caplog.text.count("over 8 tokens are shortened") == 1


def test_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="got 'mine', expected one of built, released, both"):
        CaptionChoice("mine")
