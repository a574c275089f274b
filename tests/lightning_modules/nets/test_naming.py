"""Holds what both namings promise, and that a name is the mean direction of its texts."""

import pytest
import torch
from torch import Tensor

from lightning_modules.nets.naming import (
    CompetingNames,
    IndependentNames,
    Naming,
    draw_synonyms,
    embed_prompts,
    lend,
    naming_of,
    nearest_class,
    new_classes,
    unasked,
)


def logits(names: int) -> Tensor:
    """Two images of class 0 and `names` names, the first names the same for any count."""
    return 3 * torch.randn(51, 2, generator=torch.Generator().manual_seed(0)).T[:, : names + 1]


@pytest.mark.parametrize("rule", [CompetingNames(), IndependentNames()])
@pytest.mark.parametrize("names", [1, 50])
def test_type_scores_sum_to_one(rule: Naming, names: int) -> None:
    scores = rule.score_types(logits(names))
    assert scores.min() >= 0
    torch.testing.assert_close(scores.sum(-1), torch.ones(2))


def test_unknown_naming_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"'sigmoid': expected softmax or independent") as caught:
        naming_of("sigmoid")
    assert "\n" not in str(caught.value)


VECTORS = {"up": [0.0, 2.0], "right": [5.0, 0.0], "down": [0.0, -1.0]}


def test_each_text_of_a_name_counts_alike_however_long_its_vector() -> None:
    diagonal, down = embed_prompts(
        lambda texts: torch.tensor([VECTORS[text] for text in texts]), [["up", "right"], ["down"]]
    )
    torch.testing.assert_close(diagonal, torch.tensor([0.5, 0.5]).sqrt())
    torch.testing.assert_close(down, torch.tensor([0.0, -1.0]))


def test_one_synonym_of_each_class_names_an_image_by_its_seed_alone() -> None:
    owners = torch.tensor([0, 0, 0, 1, 2, 2, -1])
    mask = draw_synonyms(range(50), owners)
    counts = torch.zeros(50, 3).index_add_(1, owners.clamp(min=0), mask.float())
    assert counts.eq(1).all() and mask.any(0).all()
    assert draw_synonyms([15, 3], owners).equal(mask[[15, 3]])


def test_names_that_nobody_asks_for_lend_to_new_words_alone() -> None:
    trained = (("good",), ("crack", "fissure"), ("stain",), ("pit",))
    asked = (("good",), ("scuff",), ("fissure",), ("dent", "pit"))
    assert new_classes(asked, trained) == [1]
    assert unasked(asked, ["shadow"], trained) == [("stain",)]
    assert unasked(asked, ["stain"], trained) == []


def test_a_lender_finds_the_new_word_that_is_nearest_in_meaning() -> None:
    texts = torch.tensor([[1, 0, 0, 0], [0, 1, 0.1, 0], [0, 0, 1.0, 0], [0.1, 0.9, 0, 0.4]])
    text_class = torch.tensor([0, 1, 2, 3])
    assert nearest_class(texts, text_class, of=[3], among=[1, 2]).tolist() == [1]
    assert nearest_class(texts, text_class, of=[], among=[1, 2]).shape == (0,)


def test_lent_scores_keep_the_highest_or_the_total() -> None:
    scores = torch.tensor([[0.1, 0.2, 0.4, 0.3]])
    lends_to = torch.tensor([1, 0])
    assert lend(scores, lends_to, "amax").flatten().tolist() == pytest.approx([0.3, 0.4])
    total = lend(scores, lends_to, "sum")
    torch.testing.assert_close(total, torch.tensor([[0.4, 0.6]]))
    assert lend(scores, torch.zeros(0, dtype=torch.int64), "sum") is scores
