"""Claims about the tracking database, what is read back from it, and results.json."""

import json
import math
import sqlite3
from multiprocessing import get_context
from pathlib import Path

import pytest
from filelock import FileLock

from experiments.run_logger import RunLogger
from experiments.tracking import (
    experiment_names,
    initialise_tracking,
    read_runs,
    tracking_uri,
    write_results,
)


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a made tracking database."""
    folder = tmp_path_factory.mktemp("mlruns")
    initialise_tracking(folder)
    return folder


def test_tracking_is_sqlite_with_an_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(Path("out")) == f"sqlite:///{tmp_path.resolve() / 'out' / 'mlflow.db'}"


def test_environment_names_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracker:5000")
    assert initialise_tracking(tmp_path / "none") == "http://tracker:5000"
    assert not (tmp_path / "none").exists()


def test_process_waits_for_the_one_that_makes_the_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("experiments.tracking.LOCK_SECONDS", 0.01)
    with FileLock(tmp_path / ".mlflow.db.lock"), pytest.raises(ValueError, match="another process"):
        initialise_tracking(tmp_path)


@pytest.mark.slow  # each process imports torch
def test_processes_that_race_for_a_fresh_database_all_succeed(tmp_path: Path) -> None:
    with get_context("spawn").Pool(2) as pool:
        uris = pool.map(initialise_tracking, [tmp_path] * 2)
    assert set(uris) == {tracking_uri(tmp_path)}


def test_file_that_is_no_database_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("not a database" * 100)
    with pytest.raises(ValueError, match=r"is not an SQLite database: move the file away"):
        initialise_tracking(tmp_path)


@pytest.mark.slow  # MLflow itself tries for 20 seconds before it gives up
def test_locked_database_is_one_line_with_remedy(tmp_path: Path) -> None:
    initialise_tracking(tmp_path)
    connection = sqlite3.connect(tmp_path / "mlflow.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    with pytest.raises(ValueError, match=r"locked by another process: .* --output"):
        experiment_names(tmp_path)
    connection.close()


def test_run_is_read_back_with_metrics_params_tags_and_files(output: Path, tmp_path: Path) -> None:
    logger = RunLogger(output, "study", "first", {"stage": "pretrain"})
    logger.log_hyperparams({"model": {"width": 8, "note": "x" * 5000}})
    logger.log_metrics({"mask/test/iou_image": 0.5}, step=1)
    (tmp_path / "note.txt").write_text("seen")
    logger.log_artifact(tmp_path / "note.txt", "notes")
    logger.close()
    [row] = read_runs(output, "study")
    assert (row.name, row.status) == ("first", "FINISHED")
    assert row.metrics == {"mask/test/iou_image": 0.5}
    assert row.params["model.width"] == "8" and len(row.params["model.note"]) == 5000
    assert row.tags["stage"] == "pretrain"
    [found] = (output / "artifacts").rglob("note.txt")
    assert found.read_text() == "seen"
    # The logger does not decide where later runs of this process go.
    assert tracking_uri(tmp_path) == f"sqlite:///{tmp_path.resolve() / 'mlflow.db'}"


def test_unknown_experiment_names_the_known(output: Path) -> None:
    RunLogger(output, "ablation", "x", {}).log_metrics({"a": 1.0})
    with pytest.raises(ValueError, match=r"'ablatoin' is not in .*; did you mean ablation\?"):
        read_runs(output, "ablatoin")


def test_reading_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is missing: run python -m"):
        read_runs(tmp_path, "study")
    assert not list(tmp_path.iterdir())


def test_results_are_flat_valid_json(tmp_path: Path) -> None:
    write_results(tmp_path, {"b": 1, "a": math.nan})
    assert json.loads((tmp_path / "results.json").read_text()) == {"a": None, "b": 1.0}
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
