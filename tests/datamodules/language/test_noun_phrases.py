"""Phrases of built captions and of released ones: what is said, and what is not."""

import pytest

from datamodules.captions import Caption
from datamodules.language.noun_phrases import NounPhrases, Phrases, chunks
from datamodules.language.released_captions import read_release
from datamodules.vocabulary import Vocabulary

FINDER = NounPhrases(Vocabulary.from_names(["crack", "odd thing"]))
BUILT = Caption(
    product="magnetic tile",
    material="ferrite",
    defect="crack",
    location="the upper left",
    morphology="a small round area",
    cause="thermal stress and scratches",
)


@pytest.mark.parametrize(
    ("text", "defects", "others"),
    [
        (BUILT.render(), ["crack"], ["magnetic tile", "ferrite", "small round area"]),
        ("Steel plate with rolled in scale and patches.", ["rolled in scale", "patch"], None),
        ("Magnetic tile with no defect.", [], ["magnetic tile"]),
        ("A magnetic tile without any crack.", [], ["magnetic tile"]),
        ("Magnetic tile.", [], ["magnetic tile"]),
        ("The glass shows a long deep scratch.", ["scratch", "long deep scratch"], None),
        ("Steel with a large odd thing.", ["odd thing", "large odd thing"], None),
        ("A crack in the upper left corner of the steel plate.", ["crack"], ["steel plate"]),
        ("A defect on the steel plate.", ["defect"], None),
        ("A defect on the steel plate, a crack.", ["crack"], None),
        ("", [], []),
    ],
)
def test_phrases_are_what_a_caption_says_is_there(text, defects, others):
    found = FINDER.of(text)
    assert found == Phrases(tuple(defects), found.others if others is None else tuple(others))


def test_of_a_long_run_the_noun_is_kept():
    assert list(chunks("a very old worn rusty thin steel plate")) == ["worn rusty thin steel plate"]


def test_most_released_captions_of_defects_name_one_in_a_phrase(shared_data):
    rows = [row for row in read_release(shared_data / "imdd1m_release") if row.defects]
    found = [FINDER.of(row.caption) for row in rows]
    assert sum(bool(phrases.defects) for phrases in found) > 0.9 * len(rows) > 100
    lengths = [len(words.split()) for one in found for words in (*one.defects, *one.others)]
    assert max(lengths) <= 6
