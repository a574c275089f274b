"""Holds the mask losses against transformers and hand-worked numbers."""

import math

import pytest
import torch
from torch import Tensor
from transformers.models.mask2former import modeling_mask2former as reference

from lightning_modules.equations.mask_losses import (
    binary_mask_loss,
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


def test_perfect_masks_cost_nothing(masks: tuple[Tensor, Tensor]) -> None:
    truth = masks[1]
    perfect = (2 * truth - 1) * 100
    assert binary_mask_loss(perfect, truth, 4).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(perfect, truth, 4).item() == pytest.approx(0, abs=1e-6)


def test_empty_truth_has_a_finite_dice() -> None:
    loss = dice_loss(torch.full((1, 10), -100.0), torch.zeros(1, 10), 1)
    assert loss.item() == pytest.approx(0)


def test_class_loss_by_hand_weighs_good_down() -> None:
    logits = torch.tensor([[0.0, 0.0], [0.0, math.log(3)]])
    loss = class_loss(logits, torch.tensor([0, 1]), 0.1)
    expected = (0.1 * math.log(2) + 1.0 * math.log(4 / 3)) / 1.1
    assert loss.item() == pytest.approx(expected)


def test_least_certain_candidates_are_kept_before_the_random_points() -> None:
    logits = torch.tensor([[5.0, -0.1, 3.0, 0.2]])
    candidates = torch.arange(8.0).view(1, 4, 2)
    random = torch.full((1, 1, 2), 99.0)
    points = uncertain_points(logits, candidates, random, keep=2)
    assert points[0].tolist() == [[2, 3], [6, 7], [99, 99]]
