"""The memory of a training image: counted on shapes, and the same as on real tensors."""

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from experiments.benchmarks.stage1_activations import NormsIn32Bits, keep, saved_bytes
from tests.lightning_modules.small_parts import small_denoiser


def test_image_keeps_at_most_0_95_gb_at_16_bits() -> None:
    kept = keep(half=True)
    assert 0.90 < kept.per_image <= 0.95
    assert kept.once == 0


def test_batch_of_32_under_autocast_fits_80_gb_without_checkpointing() -> None:
    kept = keep(half=False)
    assert kept.once == pytest.approx(1.68, abs=0.05)  # the weights' 16-bit copies
    assert kept.step(32) < 65


def test_shapes_keep_as_many_bytes_as_real_tensors() -> None:
    real = saved_bytes(small_denoiser(4, 16), 2, side=16)
    with FakeTensorMode():
        assert saved_bytes(small_denoiser(4, 16), 2, side=16) == real > 0


def test_attention_maps_and_no_checkpointing_keep_more() -> None:
    def kept(**means: bool) -> int:
        return saved_bytes(small_denoiser(4, 16, **means), 2, side=32)

    assert kept(gradient_checkpointing=True) < kept() < kept(sdpa=False)


def test_norms_are_kept_in_32_bits_as_cuda_does() -> None:
    norm = torch.nn.GroupNorm(2, 4)
    values = torch.randn(1, 4, 3, 3, dtype=torch.bfloat16)
    with torch.autocast("cpu", torch.bfloat16), NormsIn32Bits():
        assert norm(values).dtype == torch.float32
