"""Holds a box detector's losses and assignment to hand-worked numbers and to what they promise."""

import math

import pytest
import torch
from torch import Tensor

from lightning_modules.equations.box_losses import (
    BINS,
    FARTHEST,
    PLACES_PER_TRUTH,
    BoxLosses,
    Places,
    Truth,
    assign_places,
    box_losses,
    complete_iou,
    distribution_loss,
    expected_distances,
    places_of,
    to_boxes,
    to_distances,
)

SWITCHES = torch.arange(float(BINS))


def random_boxes(count: int, side_px: int = 64) -> Tensor:
    """Boxes of 8 px and more inside a square."""
    start = torch.rand(count, 2) * (side_px - 24)
    return torch.cat([start, start + 8 + torch.rand(count, 2) * 16], dim=1)


def scene() -> tuple[Tensor, Tensor, Places, Truth]:
    """Random scores and boxes at 84 places of 64 px, three types, and six truths."""
    places = places_of(64, 64, (8, 16, 32), like=torch.zeros(()))
    boxes = to_boxes(torch.rand(len(places.centres), 4) * 2 + 0.1, places)
    return torch.rand(len(boxes), 3), boxes, places, Truth(random_boxes(6), torch.arange(6) % 3)


def test_places_are_the_middles_of_cells_row_by_row() -> None:
    places = places_of(16, 24, (8,), like=torch.zeros(()))
    assert places.centres.tolist() == [[4, 4], [12, 4], [20, 4], [4, 12], [12, 12], [20, 12]]
    assert places.strides.tolist() == [[8]] * 6


@pytest.mark.parametrize("place", [0, 7, 15])
def test_sure_bin_is_its_own_distance(place: int) -> None:
    logits = torch.full((4, BINS), -100.0)
    logits[:, place] = 100.0
    assert expected_distances(logits, SWITCHES).tolist() == [place] * 4


def test_distances_keep_their_32_bits_in_a_pass_of_16() -> None:
    logits = torch.randn(9, 4, len(SWITCHES), generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = expected_distances(logits, SWITCHES)
    torch.testing.assert_close(found, expected_distances(logits, SWITCHES))


def test_distances_of_a_box_give_the_box_back(seed: int) -> None:
    places = Places(torch.tensor([[20.0, 28.0]]), torch.tensor([[8.0]]))
    box = torch.tensor([[4.0, 12.0, 60.0, 30.0]])
    torch.testing.assert_close(to_distances(box, places), torch.tensor([[2, 2, 5, 0.25]]))
    torch.testing.assert_close(to_boxes(to_distances(box, places), places), box)
    assert to_distances(torch.tensor([[-999.0, 25, 999, 30]]), places)[0, 0] == FARTHEST


def test_complete_iou_is_one_of_equal_boxes_and_iou_less_two_terms() -> None:
    first, second = torch.tensor([[0.0, 0, 4, 4]]), torch.tensor([[2.0, 0, 4, 4]])
    shape = 4 / math.pi**2 * (math.atan(1) - math.atan(0.5)) ** 2
    expected = 0.5 - 1 / 32 - shape**2 / (shape - 0.5 + 1)
    assert float(complete_iou(first, second)) == pytest.approx(expected, abs=1e-5)
    torch.testing.assert_close(complete_iou(first, first), torch.ones(1))
    moved = complete_iou(first + 3, second + 3)
    torch.testing.assert_close(moved, complete_iou(first, second), atol=1e-5, rtol=0)


def test_place_learns_one_truth_that_it_lies_in_and_truths_have_ten_at_most(seed: int) -> None:
    scores, boxes, places, truth = scene()
    owner, target = assign_places(scores, boxes, places, truth)
    learns = target > 0
    own, centres = truth.boxes[owner[learns]], places.centres[learns]
    assert learns.any() and ((centres > own[:, :2]) & (centres < own[:, 2:])).all()
    assert owner[learns].bincount().max() <= PLACES_PER_TRUTH
    assert (target >= 0).all() and (target <= 1).all()


def test_best_placed_target_is_the_best_fit_of_its_truth(seed: int) -> None:
    scores, boxes, places, truth = scene()
    owner, target = assign_places(scores, boxes, places, truth)
    fit = complete_iou(boxes, truth.boxes[owner])
    groups = [(owner == number) & (target > 0) for number in range(6)]
    fitting = [own for own in groups if own.any() and fit[own].amax() > 0.2]
    assert fitting
    for own in fitting:
        assert float(target[own].max()) == pytest.approx(float(fit[own].max()), abs=1e-3)


def iou_by_hand(one: list[float], other: list[float]) -> float:
    """Complete IoU of two boxes, in plain numbers."""
    sides = [[box[2] - box[0], box[3] - box[1]] for box in (one, other)]
    shared = [min(one[2 + k], other[2 + k]) - max(one[k], other[k]) for k in (0, 1)]
    area = max(0.0, shared[0]) * max(0.0, shared[1])
    iou = area / (sides[0][0] * sides[0][1] + sides[1][0] * sides[1][1] - area)
    around = [max(one[2 + k], other[2 + k]) - min(one[k], other[k]) for k in (0, 1)]
    apart = [(one[k] + one[2 + k] - other[k] - other[2 + k]) / 2 for k in (0, 1)]
    turn = math.atan(sides[0][0] / sides[0][1]) - math.atan(sides[1][0] / sides[1][1])
    shape = 4 / math.pi**2 * turn**2
    far = (apart[0] ** 2 + apart[1] ** 2) / (around[0] ** 2 + around[1] ** 2)
    return iou - far - shape * shape / (shape - iou + 1)


def test_assignment_is_the_one_written_out_place_by_place(seed: int) -> None:
    scores, boxes, places, truth = scene()
    fits: list[dict[int, float]] = []
    wants: list[dict[int, float]] = []  # the ten best places of each truth
    for box, name in zip(truth.boxes.tolist(), truth.class_ids.tolist(), strict=True):
        fit, value = {}, {}
        for place, (x, y) in enumerate(places.centres.tolist()):
            if box[0] < x < box[2] and box[1] < y < box[3]:
                fit[place] = max(0.0, iou_by_hand(boxes[place].tolist(), box))
                value[place] = float(scores[place, name]) ** 0.5 * fit[place] ** 6
        fits.append(fit)
        wants.append({place: value[place] for place in sorted(value, key=value.__getitem__)[-10:]})
    owners: dict[int, int] = {}
    for own, fit in enumerate(fits):
        for place in wants[own]:
            if place not in owners or fit[place] > fits[owners[place]][place]:
                owners[place] = own
    owner, target = assign_places(scores, boxes, places, truth)
    expected = torch.zeros(len(boxes))
    for place, own in owners.items():
        its = [other for other in wants[own] if owners[other] == own]
        most = max(wants[own][other] for other in its)
        expected[place] = wants[own][place] * max(fits[own][other] for other in its) / (most + 1e-9)
        assert expected[place] == 0 or int(owner[place]) == own
    torch.testing.assert_close(target, expected, rtol=1e-3, atol=1e-6)


def test_place_in_two_truths_learns_the_one_that_it_fits() -> None:
    places = Places(torch.tensor([[8.0, 8.0]]), torch.tensor([[8.0]]))
    truth = Truth(torch.tensor([[0.0, 0, 40, 40], [0.0, 0, 16, 16]]), torch.tensor([0, 0]))
    owner, target = assign_places(torch.ones(1, 1), torch.tensor([[0.0, 0, 16, 16]]), places, truth)
    assert owner.tolist() == [1] and float(target) == pytest.approx(1, abs=1e-5)


def test_distribution_loss_weighs_the_two_nearest_distances() -> None:
    logits = torch.randn(1, 4, BINS)
    chance = logits.log_softmax(-1)[0]
    expected = -(0.75 * chance[:, 2] + 0.25 * chance[:, 3]).mean()
    torch.testing.assert_close(distribution_loss(logits, torch.full((1, 4), 2.25))[0], expected)


def losses_of(truths: list[Truth], dtype: torch.dtype = torch.float32) -> BoxLosses:
    places = places_of(64, 64, (8, 16, 32), like=torch.zeros(()))
    count = len(places.centres)
    names = torch.randn(len(truths), count, 3).to(dtype)
    sides = torch.randn(len(truths), count, 4, BINS).to(dtype)
    return box_losses(names, sides, SWITCHES, places, truths)


def test_without_truths_only_names_have_a_loss() -> None:
    nothing = Truth(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64))
    losses = losses_of([nothing, nothing])
    assert losses.fit == 0 and losses.distances == 0 and losses.names > 0


def test_losses_in_half_precision_are_finite(seed: int) -> None:
    *_, truth = scene()
    losses = losses_of([truth, truth], torch.bfloat16)
    assert all(torch.isfinite(one) and one > 0 for one in (losses.fit, losses.names))
    assert torch.isfinite(losses.distances) and losses.distances > 0
