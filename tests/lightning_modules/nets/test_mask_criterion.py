"""Holds the mask losses over whole batches: perfect, empty, without masks, and their gradient."""

from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor

from datamodules.sample import Batch
from lightning_modules.nets.mask_criterion import (
    MaskCriterion,
    MaskLosses,
    MaskTargets,
    collect_targets,
)
from tests.lightning_modules.small_parts import batch_of


def two_types(has_mask: tuple[bool, ...] = (True, True, True)) -> Batch:
    """A crack (1) and a stain (2), a stain alone, and a good image, 16 px."""
    mask = torch.zeros(3, 16, 16, dtype=torch.int64)
    mask[0, 2:8, 2:8] = 1
    mask[0, 10:15, 1:15] = 2
    mask[1, 4:12, 4:12] = 2
    known = torch.tensor(has_mask)
    return replace(batch_of(mask), mask=mask * known[:, None, None], has_mask=known)


CRITERION = MaskCriterion(point_count=64)
POINTS = torch.rand(3, 256, 2, generator=torch.Generator().manual_seed(0))


def losses_of(masks: Tensor, logits: Tensor, batch: Batch, points: Tensor = POINTS) -> MaskLosses:
    """The losses of a batch that is whole."""
    targets = collect_targets(batch)
    totals = targets.totals(masks.shape[2], CRITERION.good_weight).clamp(min=1e-6)
    return CRITERION(masks, logits, targets, points, totals)


def batch_of_one_class() -> Batch:
    """One image that class 1 covers whole."""
    return batch_of(torch.ones(1, 16, 16, dtype=torch.int64))


def random_outputs() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    masks = torch.randn(2, 3, 4, 16, 16, generator=generator)
    logits = torch.randn(2, 3, 4, 3, generator=generator)
    return masks.requires_grad_(), logits.requires_grad_()


def total(losses: MaskLosses) -> Tensor:
    return losses.of_masks + losses.of_names


def test_perfect_prediction_costs_almost_nothing() -> None:
    # Query 1 covers the image and says class 1; the others are empty and say "good".
    masks = torch.tensor([-20.0, 20.0, -20.0]).view(1, 1, 3, 1, 1).expand(1, 1, 3, 4, 4)
    logits = torch.tensor([[20.0, 0.0], [0.0, 20.0], [20.0, 0.0]]).view(1, 1, 3, 2)
    # Away from the rim, where points mix with the outside.
    losses = losses_of(masks, logits, batch_of_one_class(), 0.2 + 0.6 * POINTS[:1])
    assert total(losses).item() == pytest.approx(0, abs=1e-5)


def test_batch_of_good_images_has_finite_losses_and_gradients() -> None:
    masks, logits = random_outputs()
    batch = two_types()
    losses = losses_of(masks, logits, replace(batch, mask=0 * batch.mask, class_ids=[(), (), ()]))
    total(losses).backward()
    assert losses.mask == losses.dice == losses.box == 0
    assert torch.isfinite(total(losses)) and masks.grad is not None and not masks.grad.any()
    assert logits.grad is not None and torch.isfinite(logits.grad).all() and logits.grad.any()


def test_shares_of_a_batch_add_up_to_the_whole_batch() -> None:
    masks, logits = random_outputs()
    whole = losses_of(masks, logits, two_types()).parts()
    found = collect_targets(two_types())
    totals = found.totals(4, CRITERION.good_weight)
    shares = []
    for rows in (slice(0, 1), slice(1, 3)):
        part = replace(
            found, **{each.name: getattr(found, each.name)[rows] for each in fields(found)}
        )
        shares.append(
            CRITERION(masks[:, rows], logits[:, rows], part, POINTS[rows], totals).parts()
        )
    for name, value in whole.items():
        torch.testing.assert_close(value, shares[0][name] + shares[1][name])


def test_boxes_and_drawn_masks_of_one_batch_share_the_mean() -> None:
    masks, logits = random_outputs()
    mixed = losses_of(
        masks, logits, replace(two_types(), is_box=torch.tensor([True, False, False]))
    )
    drawn = losses_of(masks, logits, two_types((False, True, True)))
    # One of three truths is drawn by pixel, beside two boxes; alone it is the only one.
    torch.testing.assert_close(mixed.dice, drawn.dice / 3)


def test_query_that_fits_a_box_is_matched_with_it() -> None:
    batch = replace(batch_of_one_class(), is_box=torch.ones(1, dtype=torch.bool))
    batch.mask[:, :, 8:] = 0
    masks = torch.full((1, 1, 3, 16, 16), -20.0)
    masks[0, 0, 0, :, 8:] = 20  # beside the box
    masks[0, 0, 2, :, :8] = 40 * torch.eye(8).repeat_interleave(2, 0) - 20  # its diagonal
    matches = CRITERION.match(masks, torch.zeros(1, 1, 3, 2), collect_targets(batch), POINTS[:1])
    assert matches.by_box[2].tolist() == [2] and matches.by_pixel.shape == (4, 0)


def test_step_copies_to_the_host_once(monkeypatch: pytest.MonkeyPatch) -> None:
    copies: list[torch.Size] = []
    cpu, batch = Tensor.cpu, two_types()

    def counted(tensor: Tensor) -> Tensor:
        copies.append(tensor.shape)
        return cpu(tensor)

    monkeypatch.setattr(Tensor, "cpu", counted)
    for name in ("item", "tolist", "__bool__", "__int__", "__float__", "nonzero"):
        monkeypatch.setattr(Tensor, name, None)
    losses_of(*random_outputs(), batch)
    assert len(copies) == 1


def targets(has_mask: tuple[bool, ...] = (True, True, True)) -> MaskTargets:
    return collect_targets(two_types(has_mask))


def test_targets_hold_one_mask_per_type_that_is_visible() -> None:
    found = targets()
    assert found.is_real.tolist() == [[True, True], [True, False], [False, False]]
    assert found.classes.tolist() == [[1, 2], [2, 0], [0, 0]]
    assert found.masks[0, 1].equal((two_types().mask[0] == 2).float())
    assert found.masks[1, 1].sum() == found.masks[2].sum() == 0


def test_totals_count_masks_weighted_names_and_answers() -> None:
    # Four queries; the third image's masks and answer are unknown.
    assert targets((True, True, False)).totals(4, 0.1).tolist() == [3, 3 + 5 * 0.1, 2]
