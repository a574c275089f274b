"""Which caption a sample gets, and that it fits the text encoder."""

from dataclasses import replace

import pytest

from datamodules.captions import Caption
from datamodules.language.caption_choice import CaptionChoice
from datamodules.sample import UNLABELLED, Record

CAPTION = Caption("plate", "steel", "crack", "the left", "a small round area", "stress")
RELEASED = "A crack runs over the plate. It lies at the left. The steel is grey."
RECORD = Record(
    image="a.png",
    mask="",
    mask_values=(),
    defects=("crack",),
    caption=CAPTION,
    group="a",
    source="parts",
    released_caption=RELEASED,
)


def say(
    choice: CaptionChoice, *, record: Record = RECORD, moved: bool = False, seed: int = 0
) -> str:
    return choice.caption_of(record.caption, record, shown=record.defects, moved=moved, seed=seed)


def count_words(text: str) -> int:
    return len(text.split())


def test_built_caption_is_the_template():
    assert say(CaptionChoice("built")) == CAPTION.render()


def test_released_caption_is_verbatim_where_the_image_stays():
    assert say(CaptionChoice("released")) == RELEASED


def test_released_caption_tells_no_place_of_a_moved_image():
    assert say(CaptionChoice("released"), moved=True) == (
        "A crack runs over the plate. The steel is grey."
    )


def test_both_alternate_by_the_sample():
    assert {say(CaptionChoice("both"), seed=seed) for seed in (6, 7)} == {
        RELEASED,
        CAPTION.render(),
    }


def test_crop_without_a_named_type_is_told_by_the_template():
    words = CaptionChoice("released").caption_of(
        CAPTION, RECORD, shown=("stain",), moved=True, seed=0
    )
    assert words.startswith("Plate of steel with stain")
    assert "stress" not in words


def test_unlabelled_image_is_not_called_good():
    record = replace(RECORD, split=UNLABELLED, defects=(), released_caption="")
    words = CaptionChoice().caption_of(
        Caption("plate", "steel"), record, shown=(), moved=False, seed=0
    )
    assert words == "Plate of steel."


@pytest.mark.parametrize("choice", ["built", "released"])
def test_long_caption_keeps_the_defect_and_says_that_it_was_cut(choice, caplog):
    choice = CaptionChoice(choice, count_words, 8)
    words = [say(choice), say(choice)]
    assert count_words(words[0]) <= 8
    assert "crack" in words[0]
    assert choice.shortened_count == 2
    assert caplog.text.count("over 8 tokens are shortened") == 1


def test_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="got 'mine', expected one of built, released, both"):
        CaptionChoice("mine")
