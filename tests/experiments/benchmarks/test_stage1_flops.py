"""The work of a training step is what SD-1.5's is known to be; counted, not timed."""

from functools import partial

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from experiments.benchmarks.stage1_flops import StepWork, count, count_passes, count_step
from tests.lightning_modules.small_parts import small_denoiser


@pytest.fixture(scope="module")
def work() -> StepWork:
    """The work of stage1.yaml at 512 px."""
    return count_step()


def test_forward_pass_is_0_803_tf(work: StepWork) -> None:
    assert work.forward == pytest.approx(0.803, rel=0.01)


def test_training_step_without_checkpointing_is_at_most_2_48_tf(work: StepWork) -> None:
    assert 2.45 < work.step <= 2.48


def test_unet_of_stage1_has_the_parameters_of_sd15(work: StepWork) -> None:
    assert work.parameters == 859_520_964


def test_frozen_parts_cost_what_they_are_known_to(work: StepWork) -> None:
    assert work.encoding == pytest.approx(1.117, rel=0.01)
    assert work.text == pytest.approx(0.0133, rel=0.01)


def test_cached_latents_spare_a_third_of_the_work(work: StepWork) -> None:
    assert work.cached <= 2.50
    assert work.online / work.cached == pytest.approx(1.46, abs=0.01)


def test_checkpointing_repeats_three_quarters_of_the_forward_pass(work: StepWork) -> None:
    assert (work.checkpointed_step - work.step) / work.forward == pytest.approx(0.74, abs=0.01)


def test_multiply_add_is_two() -> None:
    one, other = torch.ones(3, 5), torch.ones(5, 7)
    assert count(lambda: one @ other) * 1e12 == 2 * 3 * 5 * 7


def test_fused_attention_counts_as_much_as_attention_in_the_open() -> None:
    small = partial(small_denoiser, 4, 16)
    with FakeTensorMode():
        fused, _ = count_passes(small(sdpa=True), side=16)
        in_the_open, _ = count_passes(small(sdpa=False), side=16)
        without, _ = count_passes(small(attention=(False, False, False)), side=16)
    assert fused == in_the_open > without
