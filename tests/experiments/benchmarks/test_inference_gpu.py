"""Each rung of the GPU's benchmark runs, here on the CPU at a small size; what fails is a row."""

import pytest
import torch

from experiments.benchmarks import inference_gpu
from experiments.benchmarks.inference_gpu import DTYPE, RUNGS, Rung, measure_rung
from experiments.measuring.measurements import BenchSettings
from experiments.measuring.stage2_parts import make_diffusion, make_stage2, name_defects
from lightning_modules.mask_finetune import MaskFinetune
from tests.experiments.small_sizes import SMALL_STAGE2


@pytest.fixture
def model(seed: int, monkeypatch: pytest.MonkeyPatch) -> MaskFinetune:
    """A small stage 2, halved, that is looked at twice."""
    monkeypatch.setattr(inference_gpu, "WARM_CALLS", 1)
    monkeypatch.setattr(inference_gpu, "TIMED_CALLS", 1)
    model = name_defects(make_stage2(make_diffusion(SMALL_STAGE2), SMALL_STAGE2))
    model.store_frozen_in(DTYPE)
    return model


@pytest.mark.parametrize("crops_a_side", [1, 2])
def test_eager_rung_runs_in_16_bits(model: MaskFinetune, crops_a_side: int) -> None:
    row = measure_rung(model, RUNGS[0], crops_a_side)
    assert row.ours, row.settings["outcome"]
    assert row.settings["crops/s"] == pytest.approx(1000 * crops_a_side**2 / row.ours)
    assert model.features.diffusion.denoiser.unet.dtype == torch.bfloat16


def test_rung_that_fails_is_a_row_and_leaves_the_model_as_it_was(model: MaskFinetune) -> None:
    row = measure_rung(model, Rung("odd", "no such mode"), 1)
    assert (row.ours, row.ratio) == (None, None)
    assert "no such mode" in row.settings["outcome"]


@pytest.mark.gpu
@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_rung_runs_on_a_gpu(model: MaskFinetune, rung: Rung) -> None:
    row = measure_rung(model.cuda(), rung, 1)
    assert row.ours, row.settings["outcome"]
    assert row.settings["peak GB"] > 0


def test_without_a_gpu_one_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (row,) = inference_gpu.measure(BenchSettings())
    assert row.settings == {"outcome": "no GPU here: not measured"}
