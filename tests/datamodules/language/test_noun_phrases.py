"""Phrases of template captions and of released ones: what is said, and what is not."""

from pathlib import Path

import pytest

from datamodules.captions import Caption
from datamodules.language.noun_phrases import NounPhrases, Phrases, chunks
from datamodules.language.released_captions import read_release
from datamodules.vocabulary import Vocabulary


@pytest.fixture(scope="module")
def finder() -> NounPhrases:
    return NounPhrases(Vocabulary.from_names(["crack", "odd thing"]))


def test_template_caption_gives_its_fields_and_the_defect_first(finder: NounPhrases) -> None:
    caption = Caption(
        product="magnetic tile",
        material="ferrite",
        defect="crack",
        location="the upper left",
        morphology="a small round area",
        cause="thermal stress and scratches",
    )
    found = finder.of(caption.render())
    assert found == Phrases(("crack",), ("magnetic tile", "ferrite", "small round area"))


def test_several_defects_of_one_caption_are_all_found(finder: NounPhrases) -> None:
    text = Caption(product="steel plate", defect="rolled in scale and patches").render()
    assert finder.of(text).defects == ("rolled in scale", "patch")


@pytest.mark.parametrize(
    "text",
    ["Magnetic tile with no defect.", "A magnetic tile without any crack.", "Magnetic tile."],
)
def test_denied_defects_are_not_said(text: str, finder: NounPhrases) -> None:
    assert finder.of(text) == Phrases((), ("magnetic tile",))


def test_adjectives_stay_with_their_noun(finder: NounPhrases) -> None:
    found = finder.of("The surface of the glass shows a long deep scratch.")
    assert found.defects == ("scratch", "long deep scratch")


def test_names_of_the_data_that_no_table_knows_are_defects(finder: NounPhrases) -> None:
    assert finder.of("Steel with a large odd thing.").defects == ("odd thing", "large odd thing")


def test_places_are_no_phrases(finder: NounPhrases) -> None:
    found = finder.of("A crack in the upper left corner of the steel plate.")
    assert found == Phrases(("crack",), ("steel plate",))


def test_defect_without_a_name_counts_only_alone(finder: NounPhrases) -> None:
    assert finder.of("A defect on the steel plate.").defects == ("defect",)
    assert finder.of("A defect on the steel plate, a crack.").defects == ("crack",)


def test_empty_caption_says_nothing(finder: NounPhrases) -> None:
    assert finder.of("") == Phrases((), ())


def test_of_a_long_run_the_noun_is_kept() -> None:
    assert list(chunks("a very old worn rusty thin steel plate")) == ["worn rusty thin steel plate"]


def test_most_released_captions_of_defects_name_one(shared_data: Path, finder: NounPhrases) -> None:
    rows = [row for row in read_release(shared_data / "imdd1m_release") if row.defects]
    naming = [row for row in rows if finder.of(row.caption).defects]
    assert len(naming) > 0.9 * len(rows) > 100


def test_no_released_caption_gives_a_sentence_for_a_phrase(
    shared_data: Path, finder: NounPhrases
) -> None:
    for row in read_release(shared_data / "imdd1m_release"):
        found = finder.of(row.caption)
        assert all(len(phrase.split()) <= 6 for phrase in (*found.defects, *found.others))
