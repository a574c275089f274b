"""Holds the mask losses over whole batches: perfect, empty, without masks, and their gradient."""

import pytest
import torch
from torch import Tensor

from lightning_modules.nets.mask_criterion import (
    MaskCriterion,
    MaskLosses,
    MaskTargets,
    collect_targets,
)

CRITERION = MaskCriterion(point_count=64)
POINTS = torch.rand(3, 256, 2, generator=torch.Generator().manual_seed(0))


def id_masks() -> Tensor:
    """A crack (1) and a stain (2), a stain alone, and a good image, 16 px."""
    mask = torch.zeros(3, 16, 16, dtype=torch.int64)
    mask[0, 2:8, 2:8] = 1
    mask[0, 10:15, 1:15] = 2
    mask[1, 4:12, 4:12] = 2
    return mask


def targets(has_mask: tuple[bool, ...] = (True, True, True)) -> MaskTargets:
    known = torch.tensor(has_mask)
    return collect_targets(id_masks() * known[:, None, None], known, [(1, 2), (2,), ()])


def random_outputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    masks = torch.randn(2, 3, 4, 16, 16, generator=generator)
    logits = torch.randn(2, 3, 4, 3, generator=generator)
    return masks.requires_grad_(), logits.requires_grad_()


def total(losses: MaskLosses) -> Tensor:
    return losses.mask + losses.dice + losses.name + losses.answer


def test_targets_hold_one_mask_per_type_that_is_visible() -> None:
    found = targets()
    assert found.counts == [2, 1, 0]
    assert found.classes.tolist() == [[1, 2], [2, 0], [0, 0]]
    assert found.masks[0, 1].equal((id_masks()[0] == 2).float())
    assert found.masks[1, 1].sum() == found.masks[2].sum() == 0


def test_answer_is_the_dominant_type_and_good_for_none() -> None:
    assert targets().answer.tolist() == [1, 2, 0]


def test_good_images_are_known_without_a_mask() -> None:
    assert targets((True, False, False)).drawn.tolist() == [True, False, True]


def test_perfect_prediction_costs_almost_nothing() -> None:
    whole = torch.ones(1, 16, 16, dtype=torch.int64)
    wanted = collect_targets(whole, torch.ones(1, dtype=torch.bool), [(1,)])
    # Query 1 covers the image and says class 1; the others are empty and say "good".
    masks = torch.tensor([-20.0, 20.0, -20.0]).view(1, 1, 3, 1, 1).expand(1, 1, 3, 4, 4)
    logits = torch.tensor([[20.0, 0.0], [0.0, 20.0], [20.0, 0.0]]).view(1, 1, 3, 2)
    # Away from the rim, where points mix with the outside.
    losses = CRITERION(masks, logits, wanted, 0.2 + 0.6 * POINTS[:1])
    assert total(losses).item() == pytest.approx(0, abs=1e-5)


def test_order_of_queries_does_not_matter() -> None:
    masks, logits = random_outputs()
    order = torch.tensor([2, 0, 3, 1])
    one = CRITERION(masks, logits, targets(), POINTS)
    other = CRITERION(masks[:, :, order], logits[:, :, order], targets(), POINTS)
    torch.testing.assert_close(total(one), total(other))


def test_batch_of_good_images_has_finite_losses() -> None:
    empty = collect_targets(0 * id_masks(), torch.ones(3, dtype=torch.bool), [(), (), ()])
    losses = CRITERION(*random_outputs(), empty, POINTS)
    assert losses.mask == losses.dice == 0
    assert torch.isfinite(total(losses))


def test_image_without_a_known_mask_teaches_its_answer_only() -> None:
    masks, logits = random_outputs()
    losses = CRITERION(masks, logits, targets((True, False, True)), POINTS)
    (losses.mask + losses.dice + losses.name).backward(retain_graph=True)
    assert masks.grad is not None and logits.grad is not None
    assert masks.grad[:, 1].abs().sum() == logits.grad[:, 1].abs().sum() == 0
    losses.answer.backward()
    assert logits.grad[:, 1].abs().sum() > 0


def test_batch_without_any_known_mask_has_finite_losses_and_gradients() -> None:
    masks, logits = random_outputs()
    unknown = collect_targets(0 * id_masks(), torch.zeros(3, dtype=torch.bool), [(1,), (2,), (1,)])
    total(CRITERION(masks, logits, unknown, POINTS)).backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all()


def test_gradient_reaches_the_masks_of_every_set() -> None:
    masks, logits = random_outputs()
    losses = CRITERION(masks, logits, targets(), POINTS)
    (losses.mask + losses.dice).backward()
    assert masks.grad is not None and logits.grad is None
    assert (masks.grad.abs().sum((1, 2, 3, 4)) > 0).all()


def test_losses_add_up_over_sets_and_average_over_masks() -> None:
    masks, logits = random_outputs()
    both = CRITERION(masks, logits, targets(), POINTS)
    each = [CRITERION(masks[k : k + 1], logits[k : k + 1], targets(), POINTS) for k in range(2)]
    torch.testing.assert_close(both.dice, each[0].dice + each[1].dice)
    torch.testing.assert_close(both.mask, each[0].mask + each[1].mask)


def test_half_precision_outputs_are_compared_in_float32() -> None:
    masks, logits = random_outputs()
    losses = CRITERION(masks.half(), logits.half(), targets(), POINTS)
    assert losses.mask.dtype == losses.name.dtype == torch.float32
