"""Holds the mask losses against transformers and hand-worked numbers."""

import math

import pytest
import torch
from torch import Tensor
from transformers.models.mask2former import modeling_mask2former as reference

from lightning_modules.equations.mask_losses import (
    UNKNOWN,
    binary_mask_loss,
    box_loss,
    class_loss,
    dice_loss,
    uncertain_points,
)


@pytest.fixture
def masks(seed: int) -> tuple[Tensor, Tensor]:
    """Logits and truth of four masks at 30 points."""
    return torch.randn(4, 30), (torch.rand(4, 30) > 0.5).float()


def test_binary_mask_loss_equals_transformers(masks: tuple[Tensor, Tensor]) -> None:
    expected = reference.sigmoid_cross_entropy_loss(*masks, 4)
    torch.testing.assert_close(binary_mask_loss(*masks, 4), expected, rtol=1e-5, atol=1e-5)


def test_dice_loss_equals_transformers(masks: tuple[Tensor, Tensor]) -> None:
    expected = reference.dice_loss(*masks, 4)
    torch.testing.assert_close(dice_loss(*masks, 4), expected, rtol=1e-5, atol=1e-5)


def test_class_loss_by_hand_weighs_good_down() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])
    loss = class_loss(logits, torch.tensor([0, 1]), 0.1, 1.1)
    expected = (0.1 * math.log(2) + 1.0 * math.log(4 / 3)) / 1.1
    assert loss.item() == pytest.approx(expected)


def test_unknown_class_has_neither_loss_nor_gradient() -> None:
    logits = torch.randn(2, 3, requires_grad=True)
    class_loss(logits, torch.tensor([1, UNKNOWN]), 0.1, 1.0).backward()
    assert logits.grad is not None and logits.grad[0].any() and not logits.grad[1].any()


def boxes(*corners: tuple[int, int, int, int]) -> Tensor:
    """Boxes (top, bottom, left, right), ends excluded, in one mask of 8 x 8 cells."""
    inside = torch.zeros(1, 8, 8, dtype=torch.bool)
    for top, bottom, left, right in corners:
        inside[:, top:bottom, left:right] = True
    return inside


def logits_of(mask: Tensor) -> Tensor:
    return torch.where(mask, 50.0, -50.0)


BOX = boxes((2, 6, 2, 6))


def test_box_loss_by_hand() -> None:
    # One row of a box of two cells and one outside; peaks 0.5 inside and out, both ways.
    logits = torch.zeros(1, 1, 3)
    rows = 1 - (2 * 0.5 + 1) / (2 * 0.25 + 1 + 1)
    columns = 1 - (2 * 2 * 0.5 + 1) / (3 * 0.25 + 2 + 1)
    loss = box_loss(logits, torch.tensor([[[True, True, False]]]), 2)
    assert loss.item() == pytest.approx((rows + columns) / 2)


def test_thin_diagonal_that_touches_all_four_sides_costs_nothing() -> None:
    diagonal = BOX & torch.eye(8, dtype=torch.bool)
    assert box_loss(logits_of(diagonal), BOX, 1).item() == pytest.approx(0, abs=1e-6)


def test_each_of_several_boxes_wants_a_mask_of_its_own() -> None:
    corners = [(0, 3, 0, 3), (0, 3, 5, 8), (5, 8, 0, 3), (5, 8, 5, 8)]
    # Two on a diagonal have the projections of all four.
    two, four = boxes(corners[0], corners[3]), boxes(*corners)
    assert box_loss(logits_of(two), four, 1) > box_loss(logits_of(four), four, 1) + 0.1


def test_least_certain_candidates_are_kept_before_the_random_points() -> None:
    logits = torch.tensor([[5.0, -0.1, 3.0, 0.2]])
    candidates = torch.arange(8.0).view(1, 4, 2)
    random = torch.full((1, 1, 2), 99.0)
    points = uncertain_points(logits, candidates, random, keep=2)
    assert points[0].tolist() == [[2, 3], [6, 7], [99, 99]]
