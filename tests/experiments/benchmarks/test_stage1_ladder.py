"""Each rung of the GPU's ladder runs, here on the CPU at a small size; what fails is a row."""

from functools import partial

import pytest
import torch
from torch import nn

from experiments.benchmarks import stage1_ladder
from experiments.benchmarks.stage1_ladder import (
    RUNGS,
    MakeDenoiser,
    Rung,
    Setup,
    latent_side,
    measure_rung,
)
from experiments.measuring.measurements import BenchSettings, Measurement, to_table
from lightning_modules.nets.denoiser import Denoiser
from tests.lightning_modules.small_parts import small_denoiser

COMPILED = [rung for rung in RUNGS if rung.compiles]
PLAIN = [rung for rung in RUNGS if not rung.compiles]


def climb(
    rung: Rung,
    *,
    dtype: torch.dtype = torch.bfloat16,
    device: str = "cpu",
    make: MakeDenoiser = small_denoiser,
) -> Measurement:
    """The row of a rung after two steps of two small latents."""
    setup = Setup(torch.device(device), make, 8, 16, 1e-3, warm_steps=1, timed_steps=2)
    return measure_rung(setup, rung, 2, dtype)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("rung", PLAIN, ids=lambda rung: rung.name)
def test_rung_runs(rung: Rung, dtype: torch.dtype) -> None:
    row = climb(rung, dtype=dtype)
    assert row.ours
    assert 0 < row.settings["loss"] < 2


def test_fused_optimizer_and_averages_run() -> None:
    assert climb(Rung("fused", sdpa=True, fused=True), dtype=torch.float16).ours


@pytest.mark.slow
@pytest.mark.parametrize("rung", COMPILED[-1:], ids=lambda rung: rung.name)
def test_compiled_rung_runs(rung: Rung, monkeypatch: pytest.MonkeyPatch) -> None:
    modes: list[str] = []
    compile_with = nn.Module.compile

    def compile_for_cpu(net: nn.Module, mode: str = "default") -> None:
        modes.append(mode)
        compile_with(net, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", compile_for_cpu)
    assert climb(rung).ours
    assert modes == ["reduce-overhead"]


@pytest.mark.gpu
@pytest.mark.parametrize("rung", RUNGS, ids=lambda rung: rung.name)
def test_rung_runs_on_a_gpu(rung: Rung) -> None:
    row = climb(rung, device="cuda")
    assert row.ours, row.settings["outcome"]
    assert row.settings["peak GB"] > 0


def test_each_rung_adds_to_the_one_before() -> None:
    steps = [sum(getattr(rung, name) for name in Rung.__slots__[1:6]) for rung in RUNGS[1:]]
    assert steps == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried"), "out of memory"),
        (RuntimeError("no kernel image\nCompile with"), "no kernel image"),
    ],
)
def test_rung_that_fails_is_a_row(error: RuntimeError, outcome: str) -> None:
    def make(*widths: int, **means: bool) -> Denoiser:
        raise error

    row = climb(RUNGS[0], make=make)
    assert (row.ours, row.ratio, row.settings["outcome"]) == (None, None, outcome)


def test_paper_and_limit_stand_beside_rows_at_the_papers_size() -> None:
    setup = Setup(torch.device("cpu"), partial(small_denoiser), 64, 16, 2.47, 1, 1)
    row = measure_rung(setup, RUNGS[2], 1, torch.bfloat16)
    assert (row.reference, row.limit) == (60.0, pytest.approx(989 / 2.47 / 60))
    assert row.ratio == row.ours / 60.0


def test_without_a_gpu_one_row_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    (row,) = stage1_ladder.measure(BenchSettings())
    assert row.settings == {"outcome": "no GPU here: not measured"}
    assert to_table("", [row]).rows[0][1] is None


def test_size_that_the_unet_cannot_halve_is_one_line() -> None:
    assert latent_side(512) == 64
    with pytest.raises(ValueError, match="--image_size_px is 500: expected a multiple of 64"):
        latent_side(500)
