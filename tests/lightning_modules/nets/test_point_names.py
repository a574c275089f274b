"""Claims about the loss of names at points: what it asks for, and of whom it asks nothing."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from datamodules.sample import Batch
from lightning_modules.nets.mask_criterion import collect_targets
from lightning_modules.supervision import margins_of, point_loss
from tests.lightning_modules.small_parts import SIDE_PX, defect_batch, small_finetune

POINTS = torch.rand(4, 500, 2, generator=torch.Generator().manual_seed(0))


def told(batch: Batch) -> Tensor:
    """Logits (4, P, 3) that name each point as the mask does."""
    x, y = (POINTS * SIDE_PX).long().clamp(max=SIDE_PX - 1).unbind(-1)
    ids = batch.mask[torch.arange(4)[:, None], y, x]
    return 20.0 * torch.nn.functional.one_hot(ids, 3)


def test_points_named_as_the_mask_cost_almost_nothing() -> None:
    batch = defect_batch()
    assert point_loss(told(batch), collect_targets(batch), POINTS) < 0.1


def test_points_of_a_wrong_type_or_of_none_cost_much() -> None:
    batch = defect_batch()
    right = told(batch)
    swapped, silent = right[..., [0, 2, 1]], 20.0 * torch.eye(3)[0].expand_as(right)
    losses = [point_loss(each, collect_targets(batch), POINTS) for each in (swapped, silent)]
    assert min(losses) > 1


FIRST = torch.tensor([True, False, False, False])


@pytest.mark.parametrize(
    "unsure",
    [replace(defect_batch(), is_box=FIRST), replace(defect_batch(), has_mask=~FIRST)],
    ids=["box", "no mask"],
)
def test_points_of_an_image_without_exact_masks_teach_nothing(unsure: Batch) -> None:
    logits = told(defect_batch()).requires_grad_()
    point_loss(logits, collect_targets(unsure), POINTS).backward()
    assert logits.grad is not None
    assert logits.grad[0].abs().max() == 0 < logits.grad[1].abs().max()


def test_batch_of_good_images_has_a_finite_gradient() -> None:
    good: list[tuple[int, ...]] = [(), (), (), ()]
    batch = replace(defect_batch(), mask=torch.zeros_like(defect_batch().mask), class_ids=good)
    logits = torch.zeros(4, 500, 3, requires_grad=True)
    loss = point_loss(logits, collect_targets(batch), POINTS)
    loss.backward()
    assert logits.grad is not None and loss.isfinite() and logits.grad.isfinite().all()


def test_margin_is_the_logit_of_the_classes_share() -> None:
    logits = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(0))
    classes = torch.tensor([[1, 3], [2, 0]])
    shares = logits.softmax(-1).transpose(1, 2)[torch.arange(2)[:, None], classes]
    torch.testing.assert_close(margins_of(logits, classes).sigmoid(), shares)


def test_loss_of_points_counts_by_its_weight() -> None:
    torch.manual_seed(0)
    module = small_finetune().eval()
    losses = []
    for weight in (0.0, 1.0, 2.0):
        module.loss_weight_point = weight
        losses.append(module.training_step(defect_batch(), 0).item())
    assert losses[2] - losses[1] == pytest.approx(losses[1] - losses[0], rel=1e-3) != 0
