"""The bare loop is the Trainer's training without the Trainer, and both are timed step by step."""

import copy
from pathlib import Path

import pytest
import torch
from jsonargparse import Namespace

from callbacks.ema import WeightEma
from experiments.benchmarks.stage1_trainer import (
    SKIPPED_STEPS,
    RandomBatches,
    Shape,
    callbacks_of_a_run,
    differences,
    fit,
    measure_shape,
    quiet,
    run_bare,
)
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from tests.lightning_modules.small_parts import small_diffusion

SHAPE = Shape(batch_size=2, side_px=64, steps=1)


@pytest.fixture
def model(seed: int) -> DiffusionPretrain:
    """A small stage 1."""
    return DiffusionPretrain(small_diffusion(), warmup_steps=2)


def settings(*callbacks: WeightEma) -> Namespace:
    """The trainer's node of a config."""
    return Namespace(accelerator="cpu", devices=1, gradient_clip_val=1.0, callbacks=list(callbacks))


def test_bare_loop_trains_as_the_trainer_does(model: DiffusionPretrain, tmp_path: Path) -> None:
    inside, bare, data = copy.deepcopy(model), copy.deepcopy(model), RandomBatches(SHAPE)
    with quiet():
        fit(inside, data, settings(), str(tmp_path), callbacks_of_a_run())
        run_bare(bare, data)
    found = dict(inside.named_parameters())
    assert all(torch.equal(found[name], weight) for name, weight in bare.named_parameters())
    assert found["diffusion.denoiser.unet.conv_out.weight"].any()  # zero before the first step


def test_trainer_is_timed_with_few_and_with_all_callbacks(model: DiffusionPretrain) -> None:
    with quiet():
        rows = measure_shape(model, settings(WeightEma()), SHAPE, repeats=2)
    assert [row.settings["steps"] for row in rows] == [2, 2]
    assert all(row.ours and row.reference and row.unit == "us/step" for row in rows)
    assert len({row.name for row in rows}) == 2


def test_first_steps_are_not_timed() -> None:
    assert SKIPPED_STEPS == 2
    assert differences([10.0, 20.0, 21.0, 23.0]) == [1.0, 2.0]
