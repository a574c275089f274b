"""Holds matching against transformers' Mask2Former losses, scipy and brute force."""

from itertools import permutations

import numpy as np
import pytest
import torch
from transformers.models.mask2former import modeling_mask2former as reference

from lightning_modules.equations.matching import (
    assign,
    dice_cost,
    mask_cost,
    sample_points,
    to_index,
)


def test_points_equal_transformers() -> None:
    maps, points = torch.randn(2, 3, 8, 6), torch.rand(2, 10, 2)
    expected = reference.sample_point(maps, points, align_corners=False)
    torch.testing.assert_close(sample_points(maps, points), expected, rtol=1e-5, atol=1e-5)


def test_costs_equal_transformers(seed: int) -> None:
    logits, truth = torch.randn(2, 5, 40), (torch.rand(2, 3, 40) > 0.5).float()
    for image in range(2):
        entropy = reference.pair_wise_sigmoid_cross_entropy_loss(logits[image], truth[image])
        dice = reference.pair_wise_dice_loss(logits[image], truth[image])
        torch.testing.assert_close(mask_cost(logits, truth)[image], entropy, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(dice_cost(logits, truth)[image], dice, rtol=1e-5, atol=1e-5)


def test_assignment_is_the_cheapest_of_all() -> None:
    costs = np.random.default_rng(0).normal(size=(1, 5, 3))
    ((queries, truths),) = assign(costs, np.ones((1, 3), dtype=bool))
    cheapest = min(costs[0][list(rows), range(3)].sum() for rows in permutations(range(5), 3))
    assert costs[0][queries, truths].sum() == pytest.approx(cheapest)
    assert sorted(truths) == [0, 1, 2]


def test_padded_truths_are_never_assigned() -> None:
    costs = np.zeros((2, 4, 3))
    costs[:, :, 1:] = -100
    pairs = assign(costs, np.array([[True, False, False], [False, False, False]]))
    assert [truths.tolist() for _, truths in pairs] == [[0], []]


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_a_broken_cost_is_the_last_choice(broken: float) -> None:
    costs = np.array([[[broken], [3.0], [5.0]]])
    ((queries, _),) = assign(costs, np.ones((1, 1), dtype=bool))
    assert queries.tolist() == [1]


def test_index_is_flat_and_images_without_truth_are_left_out() -> None:
    pairs = [
        (np.array([2, 4]), np.array([1, 0])),
        (np.array([], dtype=int), np.array([], dtype=int)),
        (np.array([3]), np.array([0])),
    ]
    image, query, truth = to_index(pairs)
    assert image.tolist() == [0, 0, 2]
    assert query.tolist() == [2, 4, 3]
    assert truth.tolist() == [1, 0, 0]
