"""Holds guidance and the implicit-text loss at their limits."""

import pytest
import torch
from torch import Tensor

from lightning_modules.equations.guidance import guide, implicit_text_loss

NULL, CONDITIONED = torch.tensor([1.0, -2.0]), torch.tensor([3.0, 0.0])


@pytest.mark.parametrize(
    ("scale", "expected"), [(0.0, [1.0, -2.0]), (1.0, [3.0, 0.0]), (3.0, [7.0, 4.0])]
)
def test_scale_runs_from_null_over_conditioned_outwards(
    scale: float, expected: list[float]
) -> None:
    assert guide(NULL, CONDITIONED, scale).tolist() == expected


@pytest.mark.parametrize(
    ("implicit", "loss"),
    [([0.0, 2.0], 0.0), ([0.0, 0.1], 0.0), ([5.0, 0.0], 1.0), ([0.0, -1.0], 2.0)],
)
def test_implicit_text_loss_sees_the_angle_alone(implicit: list[float], loss: float) -> None:
    text = torch.tensor([[0.0, 1.0]])
    assert implicit_text_loss(torch.tensor([implicit]), text).item() == pytest.approx(loss)


def test_caption_is_a_target_and_gets_no_gradient() -> None:
    implicit: Tensor = torch.randn(2, 3, requires_grad=True)
    text = torch.randn(2, 3, requires_grad=True)
    implicit_text_loss(implicit, text).backward()
    assert implicit.grad is not None and text.grad is None
