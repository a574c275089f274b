"""Holds what is known of a batch's images: masks by type, boxes, answers, and what is not known."""

from dataclasses import replace

import torch

from datamodules.sample import Batch
from lightning_modules.equations.mask_losses import UNKNOWN
from lightning_modules.nets.mask_criterion import MaskTargets, collect_targets


def two_types(has_mask: tuple[bool, ...] = (True, True, True)) -> Batch:
    """A crack (1) and a stain (2), a stain alone, and a good image, 16 px."""
    mask = torch.zeros(3, 16, 16, dtype=torch.int64)
    mask[0, 2:8, 2:8] = 1
    mask[0, 10:15, 1:15] = 2
    mask[1, 4:12, 4:12] = 2
    known = torch.tensor(has_mask)
    return Batch(
        image=torch.zeros(3, 3, 16, 16),
        mask=mask * known[:, None, None],
        has_mask=known,
        is_box=torch.zeros(3, dtype=torch.bool),
        captions=["a crack and a stain", "a stain", "no defect"],
        class_ids=[(1, 2), (2,), ()],
        row=torch.arange(3),
        seeds=[0, 1, 2],
    )


def targets(has_mask: tuple[bool, ...] = (True, True, True)) -> MaskTargets:
    return collect_targets(two_types(has_mask))


def test_targets_hold_one_mask_per_type_that_is_visible() -> None:
    found = targets()
    assert found.is_real.tolist() == [[True, True], [True, False], [False, False]]
    assert found.classes.tolist() == [[1, 2], [2, 0], [0, 0]]
    assert found.masks[0, 1].equal((two_types().mask[0] == 2).float())
    assert found.masks[1, 1].sum() == found.masks[2].sum() == 0


def test_answer_is_the_dominant_type_and_good_for_none() -> None:
    batch = replace(two_types(), class_ids=[(2, 1), (2,), ()])
    assert collect_targets(batch).answer.tolist() == [2, 2, 0]


def test_image_of_which_nothing_is_known_has_no_answer() -> None:
    assert targets((True, False, False)).answer.tolist() == [1, 2, UNKNOWN]


def test_type_without_a_pixel_is_no_truth() -> None:
    assert not targets((False, True, True)).is_real[0].any()


def test_objects_have_no_types() -> None:
    found = targets().as_objects(torch.zeros(3, dtype=torch.bool))
    assert found.classes.tolist() == [[1, 1], [1, 0], [0, 0]]
    assert found.answer.tolist() == [1, 1, 0]


def test_objects_of_images_without_masks_are_believed_from_words_alone() -> None:
    told = torch.tensor([True, False, False])
    found = targets((False, False, True)).as_objects(told)
    assert found.answer.tolist() == [1, UNKNOWN, 0]


def test_totals_count_masks_weighted_names_and_answers() -> None:
    # Four queries; the third image's masks and answer are unknown.
    assert targets((True, True, False)).totals(4, 0.1).tolist() == [3, 3 + 5 * 0.1, 2]
