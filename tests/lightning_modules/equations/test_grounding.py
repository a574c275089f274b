"""Holds the grounding loss against hand-worked numbers and a plain loop over pairs."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.equations.grounding import grounding_loss, pair_scores, phrase_scores, unsaid

TOLD = torch.ones(3, dtype=torch.bool)
RIVALS = torch.ones(3, 3, dtype=torch.bool)


def test_phrase_scores_by_hand() -> None:
    similarity = torch.tensor([0.0, math.log(3)]).view(1, 1, 2, 1, 1)
    assert phrase_scores(similarity).item() == pytest.approx(0.75 * math.log(3))


def test_pair_score_is_the_mean_of_counted_phrases() -> None:
    scores = torch.tensor([1.0, 2.0, 6.0]).view(1, 1, 1, 3)
    counted = torch.tensor([True, True, False]).view(1, 1, 3)
    assert pair_scores(scores, counted).item() == pytest.approx(1.5)


def test_phrases_that_both_captions_say_are_not_unsaid() -> None:
    found = unsaid(torch.tensor([[1, 2], [3, 3]]), torch.tensor([[1, 3]]))
    assert found.tolist() == [[[False, True]], [[True, False]]]


def test_loss_equals_contrastive_loss_of_each_pair(seed: int) -> None:
    pairs = torch.randn(2, 3, 3)
    own = torch.arange(3)
    expected = sum(
        (functional.cross_entropy(each, own) + functional.cross_entropy(each.T, own)) / 2
        for each in pairs
    )
    torch.testing.assert_close(grounding_loss(pairs, RIVALS, TOLD), expected)


def test_captions_that_are_no_rivals_cost_nothing(seed: int) -> None:
    none = torch.zeros(3, 3, dtype=torch.bool)
    assert grounding_loss(torch.randn(2, 3, 3), none, TOLD).item() == pytest.approx(0, abs=1e-6)


def test_batch_without_captions_has_no_loss_and_a_finite_gradient() -> None:
    pairs: Tensor = torch.randn(1, 3, 3, requires_grad=True)
    loss = grounding_loss(pairs, ~RIVALS, ~TOLD)
    loss.backward()
    assert loss == 0 and pairs.grad is not None and torch.isfinite(pairs.grad).all()
