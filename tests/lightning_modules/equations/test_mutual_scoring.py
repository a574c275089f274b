"""Holds MuSc's three steps to loops written out by hand, and to what must come of odd images."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from lightning_modules.equations import mutual_scoring
from lightning_modules.equations.mutual_scoring import (
    mutual_scores,
    neighbourhood_tokens,
    smoothed_by_likeness,
)


def noise(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def tokens_by_hand(maps: np.ndarray, side: int) -> np.ndarray:
    """Each image normalised as a whole, means over squares with zeros beyond the rim, units."""
    count, channels, height, width = maps.shape
    found = np.zeros((count, height * width, channels))
    for n, image in enumerate(maps):
        image = (image - image.mean()) / np.sqrt(image.var() + 1e-5)
        for place in range(height * width):
            y, x = divmod(place, width)
            total = np.zeros(channels)
            for row in range(y - side // 2, y + side // 2 + 1):
                for column in range(x - side // 2, x + side // 2 + 1):
                    if 0 <= row < height and 0 <= column < width:
                        total += image[:, row, column]
            mean = total / side**2
            found[n, place] = mean / np.linalg.norm(mean)
    return found


def scores_by_hand(tokens: np.ndarray, share: float) -> np.ndarray:
    """Of each place the mean of the lowest distances to the nearest place of the other images."""
    count, places, _ = tokens.shape
    lowest = max(1, math.ceil(share * (count - 1) - 1e-9))
    scores = np.zeros((count, places))
    for n in range(count):
        for p in range(places):
            nearest = sorted(
                min(float(np.linalg.norm(tokens[n, p] - other)) for other in tokens[j])
                for j in range(count)
                if j != n
            )
            scores[n, p] = np.mean(nearest[:lowest])
    return scores


@pytest.mark.parametrize("side", [1, 3, 5])
def test_tokens_of_neighbourhoods_are_those_written_out(side: int) -> None:
    maps = 3 + 2 * noise(3, 4, 5, 6)
    reference = torch.from_numpy(tokens_by_hand(maps.double().numpy(), side)).float()
    torch.testing.assert_close(neighbourhood_tokens(maps, side), reference, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("count", [2, 5, 11])
def test_scores_are_those_written_out(count: int) -> None:
    tokens = noise(count, 6, 4)
    reference = torch.from_numpy(scores_by_hand(tokens.double().numpy(), 0.3)).float()
    torch.testing.assert_close(mutual_scores(tokens), reference, atol=1e-4, rtol=1e-4)


def test_scale_of_a_nets_tokens_has_no_say() -> None:
    maps = noise(3, 4, 5, 5)
    found = neighbourhood_tokens(100 * maps, 3)
    torch.testing.assert_close(found, neighbourhood_tokens(maps, 3), atol=1e-4, rtol=1e-4)


def test_scores_in_parts_are_those_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    tokens = noise(7, 6, 4)
    at_once = mutual_scores(tokens)
    monkeypatch.setattr(mutual_scoring, "MOST_DISTANCES", 2 * 36)
    torch.testing.assert_close(mutual_scores(tokens), at_once)


def test_order_of_the_images_changes_nothing_but_the_order() -> None:
    tokens, vectors = noise(8, 6, 4), noise(8, 5)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(1))
    scores = mutual_scores(tokens)
    torch.testing.assert_close(mutual_scores(tokens[order]), scores[order])
    smooth = smoothed_by_likeness(scores.amax(1), vectors, (1, 2, 3))
    turned = smoothed_by_likeness(scores.amax(1)[order], vectors[order], (1, 2, 3))
    torch.testing.assert_close(turned, smooth[order])


def test_images_that_are_the_same_have_no_odd_place() -> None:
    one, half = noise(1, 6, 4).repeat(5, 1, 1), noise(3, 6, 4)
    assert mutual_scores(one).max() < 2e-3
    pairs = mutual_scores(torch.cat([half, half]).half(), share=0.2)  # one of five: its double
    assert pairs.max() < 2e-3


def test_place_that_no_other_image_has_is_the_oddest() -> None:
    tokens = torch.nn.functional.normalize(1 + 0.1 * noise(9, 12, 16), dim=2)
    tokens[4, 7] = torch.nn.functional.normalize(noise(16), dim=0)
    scores = mutual_scores(tokens)
    assert divmod(int(scores.argmax()), 12) == (4, 7)
    assert scores[4, 7] > 3 * scores[:4].max()


@pytest.mark.parametrize("count", [2, 3, 5])
def test_few_images_have_finite_scores(count: int) -> None:
    assert torch.isfinite(mutual_scores(noise(count, 6, 4))).all()


def test_alone_an_image_keeps_its_score() -> None:
    scores, vectors = noise(6).abs(), noise(6, 5)
    torch.testing.assert_close(smoothed_by_likeness(scores, vectors, (1,)), scores)


def test_likeness_weighs_the_most_alike_as_written_out() -> None:
    scores, vectors = noise(6).abs(), 2 + noise(6, 5)
    units = vectors / vectors.norm(dim=1, keepdim=True)
    reference = torch.zeros(6)
    for count in (2, 3):
        for n in range(6):
            likeness = [float(units[n] @ units[j]) for j in range(6)]
            best = sorted(range(6), key=lambda j, row=likeness: -row[j])[:count]
            total = sum(likeness[j] for j in best)
            reference[n] += sum(likeness[j] / total * float(scores[j]) for j in best) / 2
    torch.testing.assert_close(smoothed_by_likeness(scores, vectors, (2, 3)), reference)


def test_order_is_that_of_scores_brought_to_zero_to_one_first() -> None:
    scores, vectors = 5 + 3 * noise(9), 2 + noise(9, 5)
    low, high = scores.min(), scores.max()
    found = smoothed_by_likeness(scores, vectors, (1, 2, 3))
    published = smoothed_by_likeness((scores - low) / (high - low), vectors, (1, 2, 3))
    torch.testing.assert_close((found - low) / (high - low), published, atol=1e-5, rtol=1e-5)
