"""Holds the command that chooses thresholds: on real files, never on the test split."""

import json
from pathlib import Path

import pytest

from datamodules.imdd import IMDDDataModule
from datamodules.sources.synthetic import Synthetic
from experiments import calibrate, export
from experiments.checkpoints import load_stage
from experiments.command import run_command
from experiments.thresholds import read_thresholds
from tests.experiments.small_stages import write_run


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two dozen synthetic pictures, half of them to validate on."""
    folder = tmp_path_factory.mktemp("pictures")
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


def refusal(capsys: pytest.CaptureFixture[str], *given: str) -> str:
    """The one line that the command ends with; its exit code is 2."""
    with pytest.raises(SystemExit) as ending:
        run_command(lambda _: calibrate.main(list(given)))
    text = capsys.readouterr().err
    assert ending.value.code == 2
    assert text.startswith("error: ") and text.count("\n") == 1
    return text


def test_thresholds_of_the_run_are_written_anew_and_used(
    run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = words(run, "--objective", "recall=0.8", "--min_images", "2")
    assert calibrate.main(given) == 0
    content = json.loads((run / "thresholds.json").read_text())
    assert content["objective"] == "recall=0.8" and content["split"] == "val"
    assert content["image"]["recall"]["value"] >= 0.8
    points = load_stage(run).post_processing.points
    assert points == read_thresholds(run / "thresholds.json") and points.by_name
    printed = capsys.readouterr().out
    assert "thresholds for recall=0.8" in printed and str(run / "thresholds.json") in printed


def test_another_manifest_split_and_file(run: Path, manifest: Path, tmp_path: Path) -> None:
    out = tmp_path / "mine.json"
    given = words(run, "--manifest", str(manifest), "--split", "train", "--out", str(out))
    assert calibrate.main(given) == 0
    content = json.loads(out.read_text())
    assert content["split"] == "train" and content["manifest_sha256"]


def test_test_split_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "got --split test, expected another" in refusal(capsys, *words(run, "--split", "test"))


def test_unknown_objective_is_refused(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "expected balanced, best_f1" in refusal(capsys, *words(run, "--objective", "best"))


def test_release_is_not_written_into(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = write_run(tmp_path / "run", "baselines/constant.yaml", {"output": str(tmp_path)})
    export.main(["--checkpoint", str(run), "--out", str(tmp_path / "release")])
    capsys.readouterr()
    assert "whose files its hashes seal" in refusal(capsys, *words(tmp_path / "release"))
    load_stage(tmp_path / "release")


def test_naming_of_the_thresholds_is_kept_with_them(run: Path, tmp_path: Path) -> None:
    file = tmp_path / "chosen.json"
    assert calibrate.main(words(run, "--naming", "independent", "--out", str(file))) == 0
    assert read_thresholds(file).naming == "independent"


def test_file_in_a_missing_folder_is_refused_before_the_work(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(calibrate, "calibrate")
    text = refusal(capsys, *words(run, "--out", str(tmp_path / "nowhere" / "x.json")))
    assert "x.json is missing: make it" in text
