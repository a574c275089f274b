"""Holds what both namings promise: who moves whose score, and what sums to one."""

import pytest
import torch
from torch import Tensor

from lightning_modules.nets.naming import CompetingNames, IndependentNames, Naming, naming_of


def logits(names: int) -> Tensor:
    """Two images of class 0 and `names` names, the first names the same for any count."""
    return 3 * torch.randn(51, 2, generator=torch.Generator().manual_seed(0)).T[:, : names + 1]


def test_unrelated_names_move_no_independent_score() -> None:
    alone, among_many = (IndependentNames().score_names(logits(count)) for count in (1, 50))
    assert among_many[:, :1].equal(alone)


def test_unrelated_names_lower_a_competing_score() -> None:
    alone, among_many = (CompetingNames().score_names(logits(count)) for count in (1, 50))
    assert (among_many[:, :1] < alone).all()


def test_one_name_has_the_same_score_in_both() -> None:
    competing, independent = (
        rule.score_names(logits(1)) for rule in (naming_of("softmax"), naming_of("independent"))
    )
    torch.testing.assert_close(independent, competing)


@pytest.mark.parametrize("rule", [CompetingNames(), IndependentNames()])
@pytest.mark.parametrize("names", [1, 50])
def test_type_scores_sum_to_one(rule: Naming, names: int) -> None:
    scores = rule.score_types(logits(names))
    assert scores.min() >= 0
    torch.testing.assert_close(scores.sum(-1), torch.ones(2))


@pytest.mark.parametrize("rule", [CompetingNames(), IndependentNames()])
def test_best_name_of_the_image_is_the_one_with_the_best_logit(rule: Naming) -> None:
    scores = rule.score_types(logits(50))[:, 1:]
    assert scores.argmax(-1).equal(logits(50)[:, 1:].argmax(-1))


def test_image_is_as_defective_as_its_best_independent_name() -> None:
    scores = IndependentNames().score_types(torch.tensor([0.0, 2.0, 1.0, -3.0]))
    assert 1 - scores[0].item() == pytest.approx(torch.tensor(2.0).sigmoid().item())


def test_two_words_for_one_defect_halve_each_other_only_where_names_compete() -> None:
    twice = torch.tensor([-20.0, 1.0, 1.0])
    assert CompetingNames().score_names(twice).tolist() == pytest.approx([0.5, 0.5])
    assert IndependentNames().score_names(twice).tolist() == pytest.approx([1, 1])


def test_independent_scores_of_certain_emptiness_stay_numbers() -> None:
    scores = IndependentNames().score_types(torch.tensor([500.0, -500.0, -500.0]))
    assert scores.tolist() == [1, 0, 0]


def test_unknown_naming_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"'sigmoid': expected softmax or independent") as caught:
        naming_of("sigmoid")
    assert "\n" not in str(caught.value)
