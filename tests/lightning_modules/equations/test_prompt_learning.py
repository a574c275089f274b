"""Holds PromptAD's losses and scores to loops written out by hand, and to their limits."""

import math

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from lightning_modules.equations.prompt_learning import (
    alignment_loss,
    contrast_loss,
    gallery_distances,
    harmonic,
    margin_loss,
    odd_share,
    prototypes,
)

SCALE = torch.tensor(4.6)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def units(*shape: int, seed: int = 0) -> Tensor:
    return functional.normalize(noise(*shape, seed=seed), dim=-1)


def cosine(one: list[float], other: list[float]) -> float:
    products = sum(a * b for a, b in zip(one, other, strict=True))
    return products / math.hypot(*one) / math.hypot(*other)


def test_prototypes_are_the_directions_of_means_before_any_is_normalised() -> None:
    good, odd = torch.tensor([[3.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.0, -2.0]])
    found = prototypes(good, odd)
    expected = torch.tensor([[3.0, 1.0], [0.0, -(10**0.5)]]) / 10**0.5
    torch.testing.assert_close(found, expected)


def test_contrast_is_the_cross_entropy_of_good_among_all_odd_texts() -> None:
    vectors, good, odd = units(5, 6), units(6, seed=1), 3 * noise(4, 6, seed=2)
    losses = []
    for vector in vectors.tolist():
        cosines = [cosine(vector, text) for text in [good.tolist(), *odd.tolist()]]
        shares = [math.exp(float(SCALE) * one) for one in cosines]
        losses.append(-math.log(shares[0] / sum(shares)))
    found = contrast_loss(vectors, good, odd, SCALE)
    assert float(found) == pytest.approx(sum(losses) / 5, abs=1e-5)


def test_margin_counts_only_vectors_that_are_nearer_to_odd() -> None:
    vectors, good, odd = units(7, 6), units(6, seed=1), units(6, seed=2)
    losses = []
    for vector in vectors.tolist():
        to_good, to_odd = (math.dist(vector, one.tolist()) ** 2 for one in (good, odd))
        losses.append(max(0.0, to_good - to_odd))
    assert 0 < sum(one > 0 for one in losses) < 7
    assert float(margin_loss(vectors, good, odd)) == pytest.approx(sum(losses) / 7, abs=1e-5)
    assert margin_loss(good[None], good, odd) == 0


def test_alignment_is_the_squared_distance_of_mean_directions() -> None:
    handmade, learned = 2 * noise(5, 3), noise(4, 3, seed=1)
    means = [
        [sum(row[axis] / math.hypot(*row) for row in rows) / len(rows) for axis in range(3)]
        for rows in (handmade.tolist(), learned.tolist())
    ]
    assert float(alignment_loss(handmade, learned)) == pytest.approx(math.dist(*means) ** 2)
    assert alignment_loss(handmade, 7 * handmade) == pytest.approx(0.0, abs=1e-10)


def test_share_of_odd_is_a_half_between_the_prototypes_and_turns_over_with_them() -> None:
    texts, vectors = units(2, 6), units(3, 4, 6, seed=1)
    shares = odd_share(vectors, texts, SCALE)
    assert shares.shape == (3, 4) and shares.min() > 0 and shares.max() < 1
    torch.testing.assert_close(odd_share(vectors, texts.flip(0), SCALE), 1 - shares)
    assert float(odd_share(texts.sum(0), texts, SCALE)) == pytest.approx(0.5)


def test_gallery_distance_is_half_of_one_minus_the_best_cosine() -> None:
    places, gallery = units(2, 3, 6), units(5, 6, seed=1)
    expected = [
        [min((1 - cosine(place, one)) / 2 for one in gallery.tolist()) for place in image]
        for image in places.tolist()
    ]
    found = gallery_distances(places, gallery)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=1e-5)
    assert gallery_distances(places, places.flatten(0, 1)).max() < 1e-6
    assert float(gallery_distances(places[:1, :1], -places[0, :1])) == pytest.approx(1.0)


def test_harmonic_is_under_the_smaller_and_zero_where_one_is() -> None:
    one, other = torch.rand(2, 50, generator=torch.Generator().manual_seed(0))
    found = harmonic(one, other)
    torch.testing.assert_close(found, 1 / (1 / one + 1 / other))
    assert (found <= torch.minimum(one, other)).all()
    zero = torch.zeros(1)
    assert harmonic(zero, torch.ones(1)) == harmonic(torch.ones(1), zero) == 0
    assert harmonic(zero, zero) == 0
