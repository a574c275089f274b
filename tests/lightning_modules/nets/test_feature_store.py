"""Holds the store of frozen features: taken once, the same when recalled, within its limit."""

import pytest
import torch
from torch import Tensor

from lightning_modules.nets.diffusion_features import DiffusionFeatures, FeatureStore
from tests.lightning_modules.small_parts import small_diffusion

ROOMY = 10**9
MAP_BYTES = 2 * (3 * 8 * 8 + 3 * 4 * 4)


class Taken:
    """Two maps of each image, and how many images they were taken of."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, image: Tensor) -> list[Tensor]:
        """The image, and every second pixel of it."""
        self.count += len(image)
        return [image, image[..., ::2, ::2]]


def pictures(count: int = 3) -> Tensor:
    return torch.rand(count, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def test_features_of_a_variant_are_taken_once() -> None:
    taken = Taken()
    store = FeatureStore(taken, ROOMY)
    store(pictures(), [7, 8, 9])
    store(pictures()[:2], [7, 8])
    assert taken.count == 3


def test_recalled_maps_follow_the_order_of_the_batch() -> None:
    taken, image = Taken(), pictures()
    store = FeatureStore(taken, ROOMY)
    first = store(image, [7, 8, 9])
    order = [2, 0, 1]
    again = store(image[order], [9, 7, 8])
    assert all(one[order].equal(other) for one, other in zip(first, again, strict=True))


def test_batch_may_hold_known_and_new_variants() -> None:
    taken, image = Taken(), pictures()
    store = FeatureStore(taken, ROOMY)
    store(image[1:2], [8])
    finest, _ = store(image, [7, 8, 9])
    assert taken.count == 3
    torch.testing.assert_close(finest, image, rtol=1e-3, atol=0)


def test_maps_are_the_same_whether_they_are_kept_or_not() -> None:
    kept, forgotten = FeatureStore(Taken(), ROOMY), FeatureStore(Taken(), 1)
    for _ in range(2):
        maps = zip(kept(pictures(), [1, 2, 3]), forgotten(pictures(), [1, 2, 3]), strict=True)
        assert all(one.equal(other) for one, other in maps)


def test_store_stays_within_its_limit() -> None:
    taken = Taken()
    store = FeatureStore(taken, 2 * MAP_BYTES)
    for _ in range(2):
        store(pictures(), [1, 2, 3])
    assert store.held_bytes == 2 * MAP_BYTES
    assert taken.count == 4


def test_limit_of_0_leaves_the_maps_as_they_are() -> None:
    finest, _ = FeatureStore(Taken(), 0)(pictures(), [1, 2, 3])
    assert finest.equal(pictures())


def test_maps_have_the_type_of_the_image() -> None:
    store = FeatureStore(Taken(), ROOMY)
    assert all(each.dtype == torch.float64 for each in store(pictures().double(), [1, 2, 3]))


def test_kept_frozen_features_are_those_taken_anew_to_half_precision(seed: int) -> None:
    features = DiffusionFeatures(small_diffusion(), 50, "unet")
    image = torch.rand(2, 3, 32, 32) * 2 - 1
    store = FeatureStore(features, ROOMY)
    store(image, [1, 2])
    for kept, new in zip(store(image, [1, 2]), features(image), strict=True):
        torch.testing.assert_close(kept, new, rtol=1e-3, atol=1e-5)


def test_features_beyond_half_precision_are_one_line() -> None:
    with pytest.raises(ValueError, match="beyond float16's range of 65504") as caught:
        FeatureStore(Taken(), ROOMY)(1e6 * pictures(), [1, 2, 3])
    assert "\n" not in str(caught.value)
