"""Vocabularies: ids, synonyms, the label grammar, prompts, divisions."""

import json

import pytest

from datamodules.vocabulary import (
    DEFECT_TEMPLATES,
    NEGATIVE_ID,
    Vocabulary,
    as_typed,
    defect_name,
)

GOOD = ("good", "no defect", "normal")


@pytest.mark.parametrize(
    ("text", "entries", "negatives"),
    [
        ("crack; scratch, scuff", (GOOD, ("crack",), ("scratch", "scuff")), ()),
        ("crack; scratch; good", (GOOD, ("crack",), ("scratch",)), ()),
        ("crack; intact, good", (("good", "intact"), ("crack",)), ()),
        ("normal; crack", (("good", "normal"), ("crack",)), ()),
        ("crack; hole;", (GOOD, ("crack",), ("hole",)), ()),
        ("crack; not shadow, dust; NOT oil", (GOOD, ("crack",)), ("shadow", "dust", "oil")),
        ("not_soldered; nothing there", (GOOD, ("not soldered",), ("nothing there",)), ()),
    ],
)
def test_typed_labels_become_classes_synonyms_and_negatives(
    text: str, entries: tuple[tuple[str, ...], ...], negatives: tuple[str, ...]
) -> None:
    vocabulary = Vocabulary.parse(text)
    assert (vocabulary.entries, vocabulary.negatives) == (entries, negatives)
    assert vocabulary.names == tuple(entry[0] for entry in entries)
    assert vocabulary.words == {word for entry in entries for word in entry}
    assert Vocabulary(json.loads(json.dumps(vocabulary.entries)), negatives) == vocabulary


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ";", "good", "crack;;hole", "crack, ;hole", "crack; Crack", "a, b; b"),
        *("good; good; a", "not dust", "crack; not", "crack; not dust, ", "crack; not crack"),
        "crack; not good",
    ],
)
def test_bad_label_lists_are_one_clear_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|name every class") as error:
        Vocabulary.parse(text)
    assert "\n" not in str(error.value)


def test_first_class_must_be_good() -> None:
    with pytest.raises(ValueError, match="expected class 0 to be 'good'"):
        Vocabulary((("crack",),))


@pytest.mark.parametrize(("word", "hint"), [("scrath", "did you mean scratch"), ("zzz", "known: ")])
def test_unknown_word_gets_the_nearest_names_or_all(word: str, hint: str) -> None:
    with pytest.raises(ValueError, match=f"{word}' is not in the vocabulary: {hint}"):
        Vocabulary.from_names(["crack", "scratch"]).id_of(word)


def test_labels_add_words_to_the_classes_that_they_speak_of() -> None:
    known = Vocabulary.from_names(["crack", "scratch"])
    given = known.with_words("scratch, scuff; good, fine; not shadow")
    assert given.entries == ((*GOOD, "fine"), ("crack",), ("scratch", "scuff"))
    assert given.negatives == ("shadow",)
    with pytest.raises(ValueError, match="'scrach' is not in the vocabulary: did you mean scratch"):
        known.with_words("scrach, scuff")


def test_prompts_are_synonyms_times_templates_and_good_has_its_own() -> None:
    vocabulary = Vocabulary.parse("crack; scratch, scuff")
    prompts = vocabulary.prompts(2)
    assert [len(texts) for texts in prompts] == [len(DEFECT_TEMPLATES)] * 2
    assert prompts[1][:2] == ["scuff", "a scuff defect"]
    assert vocabulary.prompts(1, ["a weld with {}"]) == [["a weld with crack"]]
    assert vocabulary.prompts(0, ["a weld with {}"]) == vocabulary.prompts(0)
    assert "a part without defect" in vocabulary.prompts(0)[0]


@pytest.mark.parametrize("templates", [[], ["a photo"], ["{} and {}"]])
def test_template_without_one_place_for_the_name_is_one_clear_line(templates: list[str]) -> None:
    with pytest.raises(ValueError, match="places for the name") as error:
        Vocabulary.from_names(["crack"]).prompts(1, templates)
    assert "\n" not in str(error.value)


def test_each_word_has_an_owner_and_negatives_are_never_prompted_as_defects() -> None:
    prompts = Vocabulary.parse("crack; scratch, scuff; good; not dust").owned_prompts()
    assert [class_id for class_id, _ in prompts] == [0, 0, 0, 1, 2, 2, NEGATIVE_ID]
    assert prompts[-1][1][0] == "dust"
    assert not any("defect" in text for text in prompts[-1][1])


def test_division_parts_seen_from_novel_and_gives_both_good_and_the_negatives() -> None:
    vocabulary = Vocabulary.parse("crack; scratch, scuff; hole; not dust")
    seen, novel = vocabulary.division(["scuff"])
    assert seen.names == ("good", "crack", "hole")
    assert novel.entries == (GOOD, ("scratch", "scuff"))
    assert seen.negatives == novel.negatives == ("dust",)
    for name, why in (("good", "good"), ("unknown", "not in the vocabulary")):
        with pytest.raises(ValueError, match=why):
            vocabulary.division([name])


@pytest.mark.parametrize(
    "name", ["scratch, deep", "scratch; deep", "scratch，deep；", "scratch、deep"]
)
def test_name_with_a_comma_or_semicolon_can_be_typed_in_a_list(name: str) -> None:
    assert defect_name(name) == "scratch deep"
    vocabulary = Vocabulary.from_names([defect_name(name)])
    assert vocabulary.id_of(name) == 1
    assert Vocabulary.parse("; ".join(map(as_typed, vocabulary.names[1:]))) == vocabulary


def test_a_defect_that_is_called_not_something_is_typed_as_one() -> None:
    listed = "; ".join(map(as_typed, ("not soldered", "chip")))
    assert Vocabulary.parse(listed).names == ("good", "not soldered", "chip")
