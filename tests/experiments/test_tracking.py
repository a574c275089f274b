"""Claims about tracking: its database, the tracker that goes away and comes back, results.json."""

import json
import math
import shutil
import time
from multiprocessing import get_context
from pathlib import Path

import pytest
from filelock import FileLock
from jsonargparse import Namespace
from lightning import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from experiments.run_logger import RUN_ID_NAME, RunLogger
from experiments.tracking import (
    RunRow,
    experiment_names,
    initialise_tracking,
    read_runs,
    tracking_uri,
    write_results,
)
from experiments.train import deliver_spool


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def opened(output: Path) -> RunLogger:
    """The logger of the run directory `one`, which tries again at every entry."""
    directory = output / "runs" / "one"
    directory.mkdir(parents=True, exist_ok=True)
    initialise_tracking(output)
    tracked = RunLogger(output, "e", "one", {"seed": "0"}, directory=directory)
    if tracked.is_new:
        tracked.log_hyperparams({"a": 1})
        assert tracked.flush()
    return tracked


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh tracking database: making one takes seconds, a copy none."""
    folder = tmp_path_factory.mktemp("mlruns")
    initialise_tracking(folder)
    return folder / "mlflow.db"


@pytest.fixture
def tracked(database: Path, tmp_path: Path) -> RunLogger:
    shutil.copy(database, tmp_path / "mlflow.db")
    return opened(tmp_path)


def row(output: Path) -> RunRow:
    (only,) = read_runs(output, "e")
    return only


def client_of(tracked: RunLogger) -> MlflowClient:
    return MlflowClient(tracked._uri)


def history(tracked: RunLogger, name: str) -> list[tuple[int, float]]:
    assert tracked.flush()
    found: list[Metric] = client_of(tracked).get_metric_history(tracked.version, name)
    return [(point.step, point.value) for point in found]


def cut_the_line(
    monkeypatch: pytest.MonkeyPatch, *calls: str, reason: str = "API request failed"
) -> None:
    """Make the tracker fail as it does when the server is gone."""

    def fail(*args: object, **kwargs: object) -> None:
        raise MlflowException(reason)

    for call in calls or ("log_batch",):
        monkeypatch.setattr(MlflowClient, call, fail)


def test_metrics_outlive_the_tracker(
    tracked: RunLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked.log_metrics({"loss": 3.0}, step=1)
    assert tracked.flush()
    with monkeypatch.context() as down:
        cut_the_line(down)
        tracked.log_metrics({"loss": 2.0}, step=2)
        tracked.log_hyperparams({"width": 8})
        assert not tracked.flush()
    lines = tracked.spool_path.read_text()
    assert len(lines.splitlines()) == 2
    tracked.log_metrics({"loss": 1.0}, step=3)
    assert history(tracked, "loss") == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert row(tmp_path).params == {"a": "1", "width": "8"}
    assert not tracked.spool_path.exists()
    # A crash cut the line before those that it has written.
    tracked.spool_path.write_text('{"kind": "met\n' + lines)
    again = opened(tmp_path)
    assert history(again, "loss") == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert not tracked.spool_path.exists()


def test_run_is_finished_when_all_is_done_and_not_after_its_training(
    tracked: RunLogger, tmp_path: Path
) -> None:
    trainer = Trainer(
        logger=tracked, max_steps=1, limit_val_batches=0, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(BoringModel())
    states = [row(tmp_path).status]
    for end in ("FINISHED", "FAILED", "KILLED"):
        tracked.close(end)
        states.append(row(tmp_path).status)
    assert states == ["RUNNING", "FINISHED", "FAILED", "KILLED"]


def test_refused_value_is_dropped_alone_and_not_spooled(
    tracked: RunLogger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    tracked.log_hyperparams({"a": 9, "b": 2, "c": 3})
    assert tracked.flush() and not tracked.spool_path.exists()
    assert "refused params a:" in caplog.text and caplog.text.count("refused") == 1
    assert row(tmp_path).params == {"a": "1", "b": "2", "c": "3"}


def test_spool_that_cannot_be_written_does_not_stop_training(
    tracked: RunLogger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("no folder")
    tracked.spool_path = tmp_path / "file" / "spool.jsonl"
    with monkeypatch.context() as down:
        cut_the_line(down)
        tracked.log_metrics({"loss": 1.0}, step=1)
        assert not tracked.flush()
    assert "can't be written" in caplog.text and "training goes on" in caplog.text
    assert history(tracked, "loss") == [(1, 1.0)]


def test_data_are_an_input_of_the_run(tracked: RunLogger) -> None:
    tracked.log_dataset("tiles", "ab" * 32, {"train": 6, "test": 3})
    assert tracked.flush()
    (found,) = client_of(tracked).get_run(tracked.version).inputs.dataset_inputs
    assert [tag.value for tag in found.tags] == ["train, test"]
    assert found.dataset.name == "tiles" and found.dataset.digest == "ab" * 18
    assert json.loads(found.dataset.profile) == {"train": 6, "test": 3}


def test_stopped_run_goes_on_as_the_same_tracked_run_whether_or_not_the_tracker_is_there(
    tracked: RunLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked.log_metrics({"loss": 1.0}, step=1)
    tracked.close("KILLED")
    assert row(tmp_path).status == "KILLED"
    again = opened(tmp_path)
    again.log_metrics({"loss": 0.5}, step=2)
    assert again.flush() and row(tmp_path).status == "RUNNING"
    with monkeypatch.context() as down:
        cut_the_line(down, "update_run", "log_batch")
        third = opened(tmp_path)
        third.log_metrics({"loss": 0.25}, step=3)
    third.close()
    assert history(again, "loss") == [(1, 1.0), (2, 0.5), (3, 0.25)]


def test_run_that_the_tracker_has_lost_begins_anew(
    tracked: RunLogger, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    note = tmp_path / "runs" / "one" / RUN_ID_NAME
    note.write_text("0" * 32)
    opened(tmp_path)
    assert "is gone from the tracker: a new one begins" in caplog.text
    assert note.read_text().strip() in {row.run_id for row in read_runs(tmp_path, "e")}


def test_machine_is_watched_while_the_run_lasts(
    tracked: RunLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    with tracked.watching_machine():
        time.sleep(0.3)
    assert tracked.flush()
    assert row(tmp_path).metrics["system/system_memory_usage_megabytes"] > 0


def test_what_waits_since_a_runs_end_is_delivered_and_the_run_is_finished(
    tracked: RunLogger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with monkeypatch.context() as down:
        cut_the_line(down, "log_batch", "set_terminated")
        tracked.log_metrics({"mask/test/iou_image": 0.5})
        tracked.close()
        assert "metrics wait in" in caplog.text
    assert (row(tmp_path).status, row(tmp_path).metrics) == ("RUNNING", {})
    stage = Namespace(output=str(tmp_path), experiment="e", name="one")
    for _ in range(2):
        deliver_spool(stage, tmp_path / "runs" / "one")
    assert (row(tmp_path).status, row(tmp_path).metrics) == (
        "FINISHED", {"mask/test/iou_image": 0.5},
    )  # fmt: skip


def test_environment_names_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert tracking_uri(Path("out")) == f"sqlite:///{tmp_path.resolve() / 'out' / 'mlflow.db'}"
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


def test_database_that_cannot_be_read_is_one_line(
    tracked: RunLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"'f' is not in .*; known are e"):
        read_runs(tmp_path, "f")
    with monkeypatch.context() as locked:
        # MLflow tries for 20 seconds before it gives up.
        cut_the_line(locked, "search_experiments", reason="database is locked [SQL: SELECT]")
        with pytest.raises(ValueError, match=r"locked by another process: .* --output"):
            experiment_names(tmp_path)
    with pytest.raises(FileNotFoundError, match="is missing: run python -m"):
        read_runs(tmp_path / "none", "study")
    assert not (tmp_path / "none").exists()
    (tmp_path / "mlflow.db").write_text("not a database" * 100)
    with pytest.raises(ValueError, match=r"is not an SQLite database: move the file away"):
        initialise_tracking(tmp_path)


def test_run_is_read_back_with_metrics_params_tags_and_files(
    tracked: RunLogger, tmp_path: Path
) -> None:
    tracked.log_hyperparams({"model": {"width": 8, "note": "x" * 5000}})
    values = {"mask/test/iou_image": 0.5, "perf/test_ms_per_image": 9.0, "mask/val/iou_image": 0.4}
    tracked.log_metrics(values, step=80)
    assert tracked.flush()
    # Figures of a test are bars and no curve.
    assert [history(tracked, name)[0][0] for name in values] == [0, 0, 80]
    (tmp_path / "note.txt").write_text("seen")
    tracked.log_artifact(tmp_path / "note.txt", "notes")
    tracked.close()
    read = row(tmp_path)
    assert (read.name, read.status, read.metrics) == ("one", "FINISHED", values)
    assert read.params["model.width"] == "8" and len(read.params["model.note"]) == 5000
    assert read.tags["seed"] == "0"
    [found] = (tmp_path / "artifacts").rglob("note.txt")
    assert found.read_text() == "seen"


def test_results_are_flat_valid_json(tmp_path: Path) -> None:
    write_results(tmp_path, {"b": 1, "a": math.nan})
    assert json.loads((tmp_path / "results.json").read_text()) == {"a": None, "b": 1.0}
    assert [path.name for path in tmp_path.iterdir()] == ["results.json"]
