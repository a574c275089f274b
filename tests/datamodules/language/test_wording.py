"""Which caption a sample gets, and that it fits the text encoder."""

from dataclasses import replace

import pytest

from datamodules.captions import Caption
from datamodules.language.wording import Wording
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


def say(wording: Wording, *, record: Record = RECORD, moved: bool = False, seed: int = 0) -> str:
    return wording.words(record.caption, record, shown=record.defects, moved=moved, seed=seed)


def count_words(text: str) -> int:
    return len(text.split())


def test_built_caption_is_the_template():
    assert say(Wording("built")) == CAPTION.render()


def test_released_caption_is_verbatim_where_the_picture_stays():
    assert say(Wording("released")) == RELEASED


def test_released_caption_tells_no_place_of_a_moved_picture():
    assert say(Wording("released"), moved=True) == (
        "A crack runs over the plate. The steel is grey."
    )


def test_both_alternate_by_the_sample():
    assert {say(Wording("both"), seed=seed) for seed in (6, 7)} == {RELEASED, CAPTION.render()}


def test_crop_without_a_named_type_is_told_by_the_template():
    words = Wording("released").words(CAPTION, RECORD, shown=("stain",), moved=True, seed=0)
    assert words.startswith("Plate of steel with stain")
    assert "stress" not in words


def test_unlabelled_picture_is_not_called_good():
    record = replace(RECORD, split=UNLABELLED, defects=(), released_caption="")
    words = Wording().words(Caption("plate", "steel"), record, shown=(), moved=False, seed=0)
    assert words == "Plate of steel."


@pytest.mark.parametrize("choice", ["built", "released"])
def test_long_caption_keeps_the_defect_and_says_that_it_was_cut(choice, caplog):
    wording = Wording(choice, count_words, 8)
    words = [say(wording), say(wording)]
    assert count_words(words[0]) <= 8
    assert "crack" in words[0]
    assert wording.shortened_count == 2
    assert caplog.text.count("over 8 tokens are shortened") == 1


def test_unknown_choice_is_refused():
    with pytest.raises(ValueError, match="got 'mine', expected one of built, released, both"):
        Wording("mine")
