"""Holds that what a user types wrongly ends a run as one line, before anything is written."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from lightning.pytorch.utilities.exceptions import SIGTERMException

from experiments import run
from experiments.command import run_command
from tests.experiments.small_run import refusal, small_words


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--config", "quikstart.yaml"], "did you mean quickstart.yaml"),
        ([], "no config was given"),
        (["--config", "quickstart.yaml", "--sed", "1"], "did you mean seed"),
        (["--config", "quickstart.yaml", "--seed", "one"], "seed: got 'one', expected int"),
        (["--config", "quickstart.yaml", "--model.init_args.tile_pix", "1"], "tile_pix: got an"),
        (["--config", "stage1_tiny.yaml", "--only", "finetune"], "leave --only out"),
        (["--config", "stage1_tiny.yaml", "--resume", "nowhere"], "there is no such directory"),
        (["--config", "stage1_tiny.yaml", "--weights", "x", "--resume", "auto"], "leave one out"),
        (["--config", "stage1_tiny.yaml", "--thresholds", "x"], "name their run by --weights"),
    ],
    ids=[
        "unknown config",
        "no config",
        "unknown key",
        "wrong type",
        "wrong stage",
        "one stage",
        "nothing to resume",
        "nothing to train",
        "thresholds of nothing",
    ],
)
def test_fault_of_a_configuration_is_one_line_and_writes_nothing(
    words: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mlruns"
    assert line in refusal(capsys, *words, *(["--output", str(output)] if words else []))
    assert not output.exists()


def test_fault_of_stage_2_is_found_before_stage_1_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: object, **__: object) -> None:
        raise AssertionError("stage 1 trained")

    monkeypatch.setattr(run, "StageRun", train)
    words = ["--config", "quickstart.yaml", *small_words(tmp_path)]
    with pytest.raises(ValueError, match="set stem: true"):
        run.main([*words, "--finetune.model.init_args.stem", "false"])


def test_output_that_is_a_file_is_one_line_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    line = refusal(capsys, "--config", "quickstart.yaml", "--output", str(tmp_path / "file"))
    assert str(tmp_path / "file") in line and "--output" in line
    assert (tmp_path / "file").read_text() == "mine"


def test_command_refuses_a_broken_database_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database" * 100)
    words = ["--config", "quickstart.yaml", "--output", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-m", "experiments.run", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: tracking database") and "is not an SQLite database" in line
    assert (tmp_path / "mlflow.db").read_text() == "no database" * 100


def test_print_config_prints_the_layers_merged_and_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", "quickstart.yaml", "--output", str(tmp_path / "out"), "--seed", "7"]
    assert run.main([*words, "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["seed"] == 7 and printed["pretrain"]["trainer"]["max_epochs"] >= 1
    assert not (tmp_path / "out").exists()


def test_run_that_is_told_to_stop_does_not_end_as_a_success() -> None:
    def stopped(_: list[str] | None) -> int:
        raise SIGTERMException

    with pytest.raises(SystemExit) as ending:
        run_command(stopped)
    assert ending.value.code not in (None, 0)


def test_epoch_of_less_than_one_step_is_one_line_and_leaves_no_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    words = ["--config", "quickstart.yaml", *small_words(tmp_path), "--only", "pretrain"]
    line = refusal(capsys, *words, "--pretrain.data.init_args.global_batch_size=4096")
    assert "expected at least global_batch_size 4096" in line
    assert not (tmp_path / "runs").exists()
