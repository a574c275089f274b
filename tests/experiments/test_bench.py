"""Benchmarks count what the nets are known to cost, give finite ratios at tiny sizes, and refuse
to time two sides that do not compute the same; speed itself is never asserted.
"""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.attention import SDPBackend, sdpa_kernel

from experiments.bench import bench
from experiments.benchmarks import inference, measurement, metrics, stage1, student
from experiments.benchmarks.measurement import (
    BenchSettings,
    Measurement,
    compare_times,
    count_peak_gb,
    count_tf,
    time_in_turns,
)
from experiments.cli import call_command

FEWEST = BenchSettings(repeats=3)
# The mask generator comes out 32 wide, the narrowest that its norms allow.
SMALL = stage1.Sizes(
    unet_channels=(40, 40, 80, 80),
    vae_channels=(8, 8, 16, 16),
    text_width=32,
    norm_groups=8,
    batch_size=2,
    image_size_px=64,
)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with a grey image and, deeper, a coloured one."""
    (tmp_path / "raw/deep").mkdir(parents=True)
    noise = np.random.default_rng(0).integers(0, 256, (40, 50, 3), dtype=np.uint8)
    Image.fromarray(noise[:, :, 0]).save(tmp_path / "raw/grey.JPG")
    Image.fromarray(noise).save(tmp_path / "raw/deep/colour.png")
    (tmp_path / "raw/notes.txt").write_text("no image")
    return tmp_path / "raw"


def check_rows(rows: Sequence[Measurement], count: int) -> None:
    """So many rows of different names, with finite figures on either side."""
    assert len({row.name for row in rows}) == count == len(rows)
    for row in rows:
        assert row.ours > 0 and row.reference > 0 and math.isfinite(row.ratio)
        assert row.limit is None or row.limit > 0


@pytest.mark.slow  # it counts every operation of the paper's nets
def test_parts_steps_images_and_features_at_512_px_cost_what_they_are_known_to() -> None:
    rows = [*stage1.measure_work(FEWEST), *inference.measure_work(FEWEST)]
    work = {row.name.removeprefix("work: "): row for row in rows}
    for name, known in stage1.KNOWN_TF.items():
        assert work[name].ours == pytest.approx(known, rel=0.01), name
    assert work["U-Net parameters"].ours == 859_520_964
    cached = work["whole step, cached latents beside online"]
    assert cached.ours <= 2.50 and cached.ratio == pytest.approx(1.46, abs=0.01)
    assert work["whole image, tensors in, masks out"].ours == pytest.approx(2.62, abs=0.01)
    full, few = (
        work[f"features, {name}"] for name in ("same taps, stopped at the last", "no decoder taps")
    )
    assert full.reference == few.reference == pytest.approx(4.47, abs=0.01)
    assert full.ratio == pytest.approx(1.78, abs=0.01) and few.ratio == pytest.approx(
        2.36, abs=0.02
    )


@pytest.mark.slow  # every tensor of the paper's nets is followed
def test_image_of_512_px_takes_less_than_4_gb_at_16_bits() -> None:
    features, whole = inference.measure_memory(FEWEST)
    assert features.ours < features.reference
    assert 2.1 < whole.ours < 4.0 and whole.reference == 18.7


def test_multiply_add_is_two_and_memory_is_what_lives_at_once() -> None:
    one, other = torch.ones(3, 5), torch.ones(5, 7)
    assert count_tf(lambda: one @ other) * 1e12 == 2 * 3 * 5 * 7

    def two_of_three() -> None:
        first = torch.zeros(1000)
        second = first + 1
        del first
        second.view(10, 100).add_(torch.ones(100))

    assert count_peak_gb(two_of_three) * 1e9 == 2 * 4000


def test_step_beside_diffusers_is_timed_where_losses_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = stage1.measure_step(FEWEST, SMALL)
    check_rows(rows, 2)
    assert rows[0].limit == 1.0 < rows[1].limit
    noise_loss = stage1.noise_loss
    monkeypatch.setattr(stage1, "noise_loss", lambda *pair: 1.01 * noise_loss(*pair))
    with pytest.raises(RuntimeError, match="the losses of our step and of diffusers' part by"):
        stage1.measure_step(FEWEST, SMALL)


def test_masks_beside_the_ancestors_are_timed_where_they_agree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    check_rows(inference.measure_throughput(FEWEST, SMALL, (1, 2)), 2)
    monkeypatch.setattr(inference, "TIMESTEP", 500)
    with pytest.raises(RuntimeError, match="not those of the ancestor's features"):
        inference.measure_throughput(FEWEST, SMALL, (1,))


def test_metrics_are_timed_where_they_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    check_rows(metrics.measure(FEWEST, images=4, side_px=64), 2)
    monkeypatch.setattr(metrics, "aupro_by_loop", lambda *maps: 0.0)
    with pytest.raises(RuntimeError, match=r"AUPRO .* differ by .* expected 0.0001 at most"):
        metrics.measure(FEWEST, images=4, side_px=64)


@pytest.mark.slow  # it exports, quantises and runs every format
def test_student_is_timed_in_each_format_beside_its_teacher(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("onnxruntime")
    pytest.importorskip("openvino")
    monkeypatch.setattr(student, "SIDES_PX", (64, 96))
    monkeypatch.setattr(student, "CORES", (1,))
    monkeypatch.setattr(student, "IMAGES", 1)
    check_rows(student.measure_speed(FEWEST), 12)
    shares = student.measure_shares(FEWEST)
    assert sum(row.ours for row in shares) == pytest.approx(4)
    memory = student.measure_memory(FEWEST)
    assert len(memory) == 6 and all(row.ours > row.settings["file MB"] for row in memory)


def test_table_and_json_hold_the_rows_of_a_folder(
    tmp_path: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = torch.get_rng_state(), torch.get_num_threads()
    words = ["--part", "images", "--images", str(images), "--image_size_px", "16", "--repeats", "3"]
    assert call_command(bench, ["data", *words, "--out", str(tmp_path / "rows.json")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "images/s" in printed and "the machine was shared" in printed
    rows = json.loads((tmp_path / "rows.json").read_text())["measurements"]
    assert len(rows) == 2 and rows[0]["limit"] == 5.0 and rows[0]["settings"]["count"] == 2
    assert {path.name for path in tmp_path.iterdir()} == {"raw", "rows.json"}
    assert torch.equal(torch.get_rng_state(), before[0])
    assert torch.get_num_threads() == before[1]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (
            ["dta"],
            "verb: invalid choice: 'dta' .*'data', 'stage1', 'inference', 'metrics', 'stu",
        ),
        ([], "required: verb"),
        (["data", "--part", "image"], "--part: bench data has no 'image'; did you mean images"),
        (["data", "--repeats", "1"], "--repeats is 1: expected 3 or more"),
        (["data", "--image_size_px", "0"], "--image_size_px is 0: expected 1 or more"),
        (["data", "--out", "missing/rows.json"], "the folder of missing/rows.json"),
        (["data", "--images", "."], "no image is under"),
    ],
)
def test_wrong_argument_is_one_line(
    words: list[str], line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=line):
        call_command(bench, words)


def test_sides_take_turns_and_the_ratio_is_ours_over_the_reference() -> None:
    calls: list[str] = []
    times = time_in_turns([lambda: calls.append("a"), lambda: calls.append("b")], repeats=3)
    assert "".join(calls) == "abababab" and [len(seconds) for seconds in times] == [3, 3]
    row = compare_times("a", [1.0, 2.0, 9.0], [8.0, 8.0, 8.0], count=16, unit="images/s")
    assert (row.ours, row.reference, row.ratio) == (8.0, 2.0, 4.0)


@pytest.mark.parametrize("module", [stage1, inference])
def test_gpu_rows_have_figures_on_a_device_and_a_reason_without(
    module: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "WARM_CALLS", 0)
    monkeypatch.setattr(measurement, "TIMED_CALLS", 1)
    monkeypatch.setattr(inference, "CROPS_A_SIDE", (1, 2))
    # PyTorch's fused attention in bfloat16 fails on processors held below what they can do.
    with sdpa_kernel(SDPBackend.MATH):
        rows = module.measure_gpu(FEWEST, SMALL, torch.device("cpu"))
    assert all(row.ours and row.ours > 0 for row in rows), [row.settings for row in rows]
    if not torch.cuda.is_available():
        without = module.measure_gpu(FEWEST, SMALL)
        assert {row.settings["outcome"] for row in without} == {"no GPU here"}
        assert not any(row.ours for row in without)
