"""Vocabularies: ids, synonyms, the label grammar, divisions."""

import json

import pytest

from datamodules.vocabulary import Vocabulary, normalise_name


def test_good_is_always_class_zero():
    vocabulary = Vocabulary.parse("crack; scratch, scuff; good")
    assert vocabulary.names == ("good", "crack", "scratch")
    assert len(vocabulary) == 3


def test_parsing_reads_classes_and_synonyms():
    assert Vocabulary.parse("crack; scratch, scuff").entries[1:] == (
        ("crack",),
        ("scratch", "scuff"),
    )


def test_good_brings_its_own_synonyms():
    assert Vocabulary.parse("crack; intact, good").entries[0] == ("good", "intact")


def test_a_normal_class_is_good():
    assert Vocabulary.parse("normal; crack").names == ("good", "crack")


def test_final_semicolon_is_harmless():
    assert Vocabulary.parse("crack; hole;").names == ("good", "crack", "hole")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        ";",
        "good",
        "crack;;hole",
        "crack, ;hole",
        "crack; Crack",
        "a, b; b",
        "good; good; a",
    ],
)
def test_bad_label_lists_are_one_clear_line(text):
    with pytest.raises(ValueError, match=r"expected|name every class") as error:
        Vocabulary.parse(text)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "word", ["missing part", "Missing_Part", "missing-part", "  MISSING  part"]
)
def test_spelling_of_a_name_does_not_matter(word):
    assert normalise_name(word) == "missing part"
    assert Vocabulary.from_names(["crack", "missing_part"]).id_of(word) == 2


def test_synonyms_have_the_id_of_their_class():
    assert Vocabulary.parse("crack; scratch, scuff").id_of("Scuff") == 2


def test_unknown_word_gets_the_nearest_names():
    with pytest.raises(ValueError, match="did you mean scratch"):
        Vocabulary.from_names(["crack", "scratch"]).id_of("scrath")


def test_unknown_word_without_neighbour_gets_all_names():
    with pytest.raises(ValueError, match="known: good"):
        Vocabulary.from_names(["crack"]).id_of("zzz")


def test_entries_survive_json():
    vocabulary = Vocabulary.parse("crack; scratch, scuff")
    assert Vocabulary(json.loads(json.dumps(vocabulary.entries))) == vocabulary


def test_first_class_must_be_good():
    with pytest.raises(ValueError, match="expected class 0 to be 'good'"):
        Vocabulary((("crack",),))


def test_prompts_are_synonyms_times_templates():
    prompts = Vocabulary.parse("crack; scratch, scuff").prompts(2)
    assert prompts == [["scratch", "a scratch defect"], ["scuff", "a scuff defect"]]


def test_good_is_prompted_as_absence_of_defects():
    assert "a part without defect" in Vocabulary.from_names(["crack"]).prompts(0)[0]


def test_division_parts_seen_from_novel_and_gives_both_good():
    seen, novel = Vocabulary.parse("crack; scratch, scuff; hole").division(["scuff"])
    assert seen.names == ("good", "crack", "hole")
    assert novel.entries[1:] == (("scratch", "scuff"),)


@pytest.mark.parametrize("novel", [["good"], ["unknown"]])
def test_division_refuses_good_and_unknown_names(novel):
    with pytest.raises(ValueError, match=r"good|not in the vocabulary"):
        Vocabulary.from_names(["crack"]).division(novel)
