"""Vocabularies: ids, synonyms, the label grammar, divisions."""

import json

import pytest

from datamodules.vocabulary import DEFECT_TEMPLATES, NEGATIVE_ID, Vocabulary, normalise_name


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
        "not dust",
        "crack; not",
        "crack; not dust, ",
        "crack; not crack",
        "crack; not good",
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
    assert [len(texts) for texts in prompts] == [len(DEFECT_TEMPLATES)] * 2
    assert prompts[1][:2] == ["scuff", "a scuff defect"]


def test_own_templates_stand_for_defects_and_not_for_good():
    vocabulary = Vocabulary.from_names(["crack"])
    assert vocabulary.prompts(1, ["a weld with {}"]) == [["a weld with crack"]]
    assert vocabulary.prompts(0, ["a weld with {}"]) == vocabulary.prompts(0)


@pytest.mark.parametrize("templates", [[], ["a photo"], ["{} and {}"]])
def test_template_without_one_place_for_the_name_is_one_clear_line(templates):
    with pytest.raises(ValueError, match="places for the name") as error:
        Vocabulary.from_names(["crack"]).prompts(1, templates)
    assert "\n" not in str(error.value)


def test_what_is_no_defect_has_no_class():
    vocabulary = Vocabulary.parse("crack; not shadow, dust; NOT oil")
    assert vocabulary.names == ("good", "crack")
    assert vocabulary.negatives == ("shadow", "dust", "oil")


def test_defect_called_not_something_is_written_with_an_underscore():
    vocabulary = Vocabulary.parse("not_soldered; nothing there")
    assert vocabulary.names == ("good", "not soldered", "nothing there")
    assert vocabulary.negatives == ()


def test_negatives_are_never_prompted_as_defects():
    class_id, texts = Vocabulary.parse("crack; not shadow").owned_prompts()[-1]
    assert class_id == NEGATIVE_ID and texts[0] == "shadow"
    assert not any("defect" in text for text in texts)


def test_each_word_of_a_list_has_an_owner():
    prompts = Vocabulary.parse("crack; scratch, scuff; good; not dust").owned_prompts()
    assert [class_id for class_id, _ in prompts] == [0, 1, 2, 2, NEGATIVE_ID]


def test_words_are_names_and_synonyms():
    words = Vocabulary.parse("crack; scratch, scuff; good; not dust").words
    assert words == {"good", "crack", "scratch", "scuff"}


def test_good_is_prompted_as_absence_of_defects():
    assert "a part without defect" in Vocabulary.from_names(["crack"]).prompts(0)[0]


def test_division_parts_seen_from_novel_and_gives_both_good():
    seen, novel = Vocabulary.parse("crack; scratch, scuff; hole").division(["scuff"])
    assert seen.names == ("good", "crack", "hole")
    assert novel.entries[1:] == (("scratch", "scuff"),)


def test_division_leaves_the_negatives_in_both():
    seen, novel = Vocabulary.parse("crack; hole; not dust").division(["hole"])
    assert seen.negatives == novel.negatives == ("dust",)


@pytest.mark.parametrize("novel", [["good"], ["unknown"]])
def test_division_refuses_good_and_unknown_names(novel):
    with pytest.raises(ValueError, match=r"good|not in the vocabulary"):
        Vocabulary.from_names(["crack"]).division(novel)


def test_labels_add_words_to_the_classes_that_they_speak_of() -> None:
    known = Vocabulary.from_names(["crack", "scratch"])
    given = known.with_words("scratch, scuff; good, fine; not shadow")
    assert given.entries == (
        ("good", "no defect", "normal", "fine"), ("crack",), ("scratch", "scuff"),
    )  # fmt: skip
    assert given.negatives == ("shadow",)
    with pytest.raises(
        ValueError, match=r"'scrach' is not in the vocabulary: did you mean scratch"
    ):
        known.with_words("scrach, scuff")
