"""Holds joined images to their parts: each box still frames the pixels that it framed."""

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_modules.equations.box_losses import Truth
from lightning_modules.nets.mosaic import mixup, mosaic, seen_through

SIDE_PX = 48


def framed(count: int = 4) -> tuple[Tensor, list[Truth]]:
    """Black images with one square each, of a colour and a type of its own."""
    images, truths = torch.zeros(count, 3, SIDE_PX, SIDE_PX), []
    for index in range(count):
        top, left = 6 + 4 * index, 30 - 6 * index
        images[index, :, top : top + 12, left : left + 10] = 1.0 + index
        box = torch.tensor([[left, top, left + 10, top + 12]]).float()
        truths.append(Truth(box, torch.tensor([index])))
    return images, truths


@pytest.mark.parametrize("turn", range(20))
def test_boxes_of_a_mosaic_frame_what_is_left_of_their_squares(turn: int) -> None:
    images, truths = framed()
    joined, found = mosaic(images, truths, 1.0, np.random.default_rng(turn))
    for image, truth in zip(joined, found, strict=True):
        left_out = image[0].clone()
        for (left, top, end, bottom), class_id in zip(
            truth.boxes.int().tolist(), truth.class_ids.tolist(), strict=True
        ):
            assert (image[:, top:bottom, left:end] == 1 + class_id).all()
            left_out[top:bottom, left:end] = 0
        slivers = left_out.unique(return_counts=True)[1][1:]
        assert (slivers <= 3 * 0.1 * 120).all()


def test_mosaic_shows_what_lies_next_to_the_seam() -> None:
    images, truths = framed(1)
    images[:] = torch.arange(SIDE_PX)  # the column
    joined, _ = mosaic(images, truths, 1.0, np.random.default_rng(3))
    columns = joined[0, 0, 0]
    (seam,) = (columns.diff() < 0).nonzero()[0].tolist()
    assert columns[: seam + 1].tolist() == list(range(SIDE_PX - seam - 1, SIDE_PX))
    assert columns[seam + 1 :].tolist() == list(range(SIDE_PX - seam - 1))


def test_box_that_is_nearly_cut_off_is_no_truth() -> None:
    truth = Truth(torch.tensor([[0.0, 0, 20, 10], [14.0, 0, 34, 10]]), torch.tensor([0, 1]))
    seen = seen_through(truth, (16, 0, 48, 48), (0, 0))
    assert seen.boxes.tolist() == [[16, 0, 20, 10], [16, 0, 34, 10]]
    assert seen_through(truth, (19, 0, 48, 48), (0, 0)).class_ids.tolist() == [1]


def test_mixture_is_the_mean_of_two_images_with_the_boxes_of_both() -> None:
    images, truths = framed()
    mixed, found = mixup(images, truths, 1.0, np.random.default_rng(0))
    for image, truth in zip(mixed, found, strict=True):
        first, second = truth.class_ids.tolist()
        assert image.equal((images[first] + images[second]) / 2)


def test_joined_at_probability_0_images_stay() -> None:
    images, truths = framed()
    for join in (mosaic, mixup):
        joined, found = join(images, truths, 0.0, np.random.default_rng(0))
        assert joined.equal(images) and found == truths
