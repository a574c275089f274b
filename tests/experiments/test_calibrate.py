"""Holds the command that chooses thresholds: on real files, never on the test split."""

import json
from pathlib import Path

import pytest

from datamodules.imdd import IMDDDataModule
from datamodules.sources.synthetic import Synthetic
from experiments import calibrate as command
from experiments.calibrate import calibrate
from experiments.checkpoints import load_stage, read_thresholds
from experiments.cli import call_command
from experiments.export import export
from tests.experiments.refused import refused
from tests.experiments.small_stages import write_run


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dozen synthetic images, half of them to validate on."""
    folder = tmp_path_factory.mktemp("images")
    data = IMDDDataModule(
        Synthetic(image_count=24, image_size_px=64),
        str(folder / "data"),
        manifest_folder=str(folder),
        train_fraction=0.25,
        val_fraction=0.5,
    )
    data.prepare_data()
    (path,) = folder.glob("*.parquet")
    return path


@pytest.fixture(scope="module")
def run(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of an untrained stage 2."""
    folder = tmp_path_factory.mktemp("calibrate")
    data = {"source": "null", "root": "''", "manifest": str(manifest)}
    model = {"tile_px": "64", "tile_overlap_px": "0", "pretrained": "random"}
    settings = {f"data.init_args.{key}": value for key, value in data.items()}
    settings |= {f"model.init_args.{key}": value for key, value in model.items()}
    return write_run(folder / "run", "stage2_tiny.yaml", {"output": str(folder), **settings})


def words(run: Path, *more: str) -> list[str]:
    return ["--checkpoint", str(run), "--device", "cpu", *more]


def test_thresholds_of_the_run_are_written_anew_and_used(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call_command(calibrate, words(run, "--objective", "recall=0.8", "--min_images", "2"))
    content = json.loads((run / "thresholds.json").read_text())
    assert content["objective"] == "recall=0.8" and content["split"] == "val"
    assert content["image"]["recall"]["value"] >= 0.8
    points = load_stage(run).post_processing.points
    assert points == read_thresholds(run / "thresholds.json") and points.by_name
    printed = capsys.readouterr().out
    assert "thresholds for recall=0.8" in printed and str(run / "thresholds.json") in printed


def test_another_manifest_split_naming_and_file_and_no_release(
    run: Path, manifest: Path, tmp_path: Path
) -> None:
    out = tmp_path / "mine.json"
    given = ["--manifest", str(manifest), "--split", "train", "--naming", "independent"]
    call_command(calibrate, words(run, *given, "--out", str(out)))
    content = json.loads(out.read_text())
    assert content["split"] == "train" and content["manifest_sha256"]
    assert read_thresholds(out).naming == "independent"
    call_command(export, ["--checkpoint", str(run), "--out", str(tmp_path / "release")])
    with pytest.raises(ValueError, match="whose files its hashes seal"):
        call_command(calibrate, words(tmp_path / "release"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--split", "test"], "got --split test, expected another"),
        (["--objective", "best"], "expected balanced, best_f1"),
        (["--review_error_rate", "2"], "review error rate is 2.0: expected a share in [0, 1]"),
        (["--out", "nowhere/x.json"], "x.json is missing: make it"),
        (["--naming", "sigmoid"], "expected softmax or independent"),
    ],
)
def test_what_cannot_be_is_one_line_before_the_work(
    run: Path, given: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(command, "choose")
    assert said in refused(calibrate, *words(run, *given))
