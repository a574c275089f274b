"""Our step and diffusers' compute the same before they are timed, at a small size."""

import copy

import pytest
import torch
from torch import Tensor

from experiments.benchmarks.stage1_step import (
    check_agreement,
    in_bfloat16,
    measure_sizes,
)
from experiments.measuring.bare_loops import (
    DiffusersLoop,
    Frozen,
    OurLoop,
    Parts,
    Sizes,
    make_parts,
)
from experiments.measuring.measurements import BenchSettings

SMALL = Sizes(
    (16, 16, 32, 32), (8, 8, 8, 8), 32, 1, 2, norm_groups=8, batch_size=2, image_size_px=64
)


@pytest.fixture
def parts(seed: int) -> Parts:
    """Small nets and a batch of two."""
    return make_parts(SMALL)


def frozen(parts: Parts) -> Frozen:
    """Those that are not trained."""
    return Frozen(parts.autoencoder.vae, parts.text)


@pytest.mark.parametrize("tuned", [False, True])
def test_our_steps_are_those_of_diffusers(parts: Parts, *, tuned: bool) -> None:
    ours, other = OurLoop(parts), DiffusersLoop(parts, tuned=tuned)
    for _ in range(3):
        loss = ours.step(ours.encode)
        torch.testing.assert_close(other.step(frozen(parts)), loss, rtol=1e-4, atol=0)
    for own, theirs in zip(ours.weights(), other.weights(), strict=True):
        torch.testing.assert_close(theirs, own, rtol=0, atol=2e-5)


def test_side_that_computes_something_else_is_refused(parts: Parts) -> None:
    other = DiffusersLoop(parts, tuned=True)
    with torch.no_grad():
        other.unet.conv_in.weight.mul_(1.1)
    with pytest.raises(RuntimeError, match="our step and diffusers' part by"):
        check_agreement(OurLoop(parts), (other,), frozen(parts))


@pytest.mark.parametrize("precision", ["cached", "bf16"])
def test_faster_step_has_the_same_loss(parts: Parts, precision: str) -> None:
    exact, fast = OurLoop(parts), OurLoop(parts)
    stored: Tensor = fast.encode().half()
    cast = {"cast": in_bfloat16} if precision == "bf16" else {}
    loss = fast.step(lambda: stored, **cast)
    assert float(loss) == pytest.approx(float(exact.step(exact.encode)), rel=0.02)


def test_sides_start_from_the_same_weights_and_leave_them(parts: Parts) -> None:
    before = copy.deepcopy(parts.denoiser.state_dict())
    OurLoop(parts).step(lambda: parts.noise)
    DiffusersLoop(parts, tuned=False).step(frozen(parts))
    assert all(torch.equal(before[name], w) for name, w in parts.denoiser.state_dict().items())


def test_rows_name_both_sides_and_their_agreement() -> None:
    rows = measure_sizes(SMALL, BenchSettings(repeats=3))
    assert len({row.name for row in rows}) == 6
    assert all(row.ours and row.reference and row.limit for row in rows)
    assert all("losses part by" in row.settings for row in rows)
    limits = [row.limit for row in rows]
    assert limits[0] == 1.0 < limits[1] == limits[2] / 2
