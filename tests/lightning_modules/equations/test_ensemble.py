"""Holds how two opinions on names become one: hand-worked numbers and limits."""

import pytest
import torch
from torch import Tensor

from lightning_modules.equations.ensemble import join_competing, join_independent

HEAD = torch.tensor([0.2, 0.6, 0.2]).log()
CLIP = torch.tensor([0.5, 0.1, 0.4]).log()


def weights(*values: float) -> Tensor:
    return torch.tensor(values)


def test_geometric_mean_of_two_beliefs_by_hand() -> None:
    # Among the names: head 0.75 and 0.25, CLIP 0.2 and 0.8; the roots of 0.15 and 0.2 share 0.8.
    first, second = 0.15**0.5, 0.2**0.5
    names = [0.8 * first / (first + second), 0.8 * second / (first + second)]
    scores = join_competing(HEAD, CLIP, weights(0.5, 0.5)).exp()
    assert scores.tolist() == pytest.approx([0.2, *names])


def test_seen_and_unseen_names_weigh_clip_differently() -> None:
    first, second = 0.75**0.7 * 0.2**0.3, 0.25**0.3 * 0.8**0.7
    scores = join_competing(HEAD, CLIP, weights(0.3, 0.7)).exp()
    assert (scores[1] / scores[2]).item() == pytest.approx(first / second)


def test_without_clips_share_the_head_alone_speaks() -> None:
    joined = join_competing(HEAD, CLIP, weights(0, 0))
    torch.testing.assert_close(joined.exp(), HEAD.softmax(-1))
    torch.testing.assert_close(join_independent(HEAD, CLIP, weights(0, 0)), HEAD)


def test_odds_against_nothing_are_a_geometric_mean_by_hand() -> None:
    joined = join_independent(HEAD, CLIP, weights(0.5, 0.5))
    odds = (joined[1:] - joined[0]).exp()
    assert odds.tolist() == pytest.approx([(3 * 0.2) ** 0.5, (1 * 0.8) ** 0.5])


def test_another_name_moves_no_odds() -> None:
    few = join_independent(HEAD[:2], CLIP[:2], weights(0.3))
    torch.testing.assert_close(join_independent(HEAD, CLIP, weights(0.3, 0.7))[:2], few)
