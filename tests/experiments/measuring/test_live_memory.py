"""Bytes of living tensors, worked out by hand."""

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from experiments.measuring.live_memory import LiveMemory
from experiments.measuring.stage2_parts import make_diffusion, random_pictures
from lightning_modules.nets.diffusion_features import DiffusionFeatures
from tests.experiments.small_sizes import SMALL_STAGE2

KILO = 4 * 1000  # bytes of a thousand float32


def work(source: Tensor) -> Tensor:
    """At most three thousand values at once, of which two thousand remain."""
    first = source + 1
    second = first * 2
    del first
    second.view(10, 100).add_(1)
    both = torch.cat([second, source])
    return both[:1500]


def test_peak_is_the_most_that_lived_at_once() -> None:
    with LiveMemory() as memory:
        result = work(torch.ones(1000))
    assert memory.peak_bytes == 4 * KILO
    assert memory.live_bytes == result.untyped_storage().nbytes() == 2 * KILO


def test_tensors_from_outside_do_not_count() -> None:
    source = torch.ones(1000)
    with LiveMemory() as memory:
        source.add_(1).view(2, 500)
    assert memory.peak_bytes == 0


def test_tensor_that_ends_after_the_block_is_taken_off() -> None:
    with LiveMemory() as memory:
        result = torch.ones(1000)
    del result
    assert memory.live_bytes == 0


def test_fake_tensors_count_as_much_as_real_ones() -> None:
    def peak() -> int:
        features = DiffusionFeatures(make_diffusion(SMALL_STAGE2), 50, "full")
        pictures = random_pictures(SMALL_STAGE2)
        with LiveMemory() as memory:
            features(pictures)
        return memory.peak_bytes

    with FakeTensorMode():
        fake = peak()
    assert fake == peak() > 0
