"""Holds what is understood of a prompt, and that its words of place follow the mask."""

from pathlib import Path

import numpy as np
import pytest

from experiments.generation.prompts import gather_prompts, parse_prompt
from lightning_modules.nets.text_encoder import count_words

TEMPLATE = "Plate of steel with crack located at the right, potentially caused by a blow."


def upper_left() -> np.ndarray:
    mask = np.zeros((60, 60), dtype=bool)
    mask[4:12, 4:12] = True
    return mask


@pytest.mark.parametrize(
    ("text", "defect", "types"),
    [
        (TEMPLATE, None, "crack"),
        ("Plate with crack and oil stain.", None, "crack;oil stain"),
        ("Plate with no defect.", None, "good"),
        ("Plate with a deep crack.", "crack", "crack"),
        ("rusty", None, None),
        ("rusty", "Pin_Hole", "pin hole"),
        ("shiny", "normal", "good"),
    ],
)
def test_types_are_those_named(text: str, defect: str | None, types: str | None) -> None:
    assert parse_prompt(text, defect).types == types


@pytest.mark.parametrize(("named", "defect"), [("crack", "stain"), ("pitting", "pit")])
def test_prompt_that_contradicts_the_defect_is_refused(named: str, defect: str) -> None:
    with pytest.raises(ValueError, match=f"names '{named}', --defect is '{defect}'"):
        parse_prompt(f"Plate of steel with {named}.", defect)


def test_place_and_shape_are_told_as_the_mask_has_them() -> None:
    placed = parse_prompt(TEMPLATE, None).placed(upper_left())
    assert placed.text == (
        "Plate of steel with crack located at the upper left, characterized by a medium round "
        "area, potentially caused by a blow."
    )
    free_text = parse_prompt("rusty at the right", "rust")
    assert free_text.placed(upper_left()) == free_text


def test_long_caption_loses_fields_and_long_free_text_is_refused() -> None:
    assert parse_prompt(TEMPLATE, None).fitted(count_words, 4) == "Plate with crack."
    with pytest.raises(ValueError, match="takes 3 tokens, expected at most the text encoder's 2"):
        parse_prompt("very rusty bolt", None).fitted(count_words, 2)


def test_prompts_given_and_of_a_file_are_all_taken_or_that_of_the_defect(tmp_path: Path) -> None:
    (tmp_path / "p.txt").write_text("two \n\n three\n")
    gathered = gather_prompts(["one"], str(tmp_path / "p.txt"), None)
    assert [prompt.text for prompt in gathered] == ["one", "two", "three"]
    (prompt,) = gather_prompts([], "", "Pin_hole")
    assert (prompt.text, prompt.types) == ("Part with pin hole.", "pin hole")


@pytest.mark.parametrize("text", ["rusty", "Plate with no defect.", "Plate with crack and stain."])
def test_a_mask_needs_exactly_one_type(text: str) -> None:
    gather_prompts([text], "", None)
    with pytest.raises(ValueError, match="a mask shows one type of defect"):
        gather_prompts([text], "", None, has_mask=True)
