"""Claims about the tracked run of an interrupted run."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from jsonargparse import Namespace
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from experiments.running.tracked_run import RUN_ID_NAME, TrackedRun, deliver_spool
from experiments.runs import RunRow, read_runs, tracking_uri


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """No tracker but the test's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        yield


def opened(output: Path) -> TrackedRun:
    directory = output / "runs" / "one"
    directory.mkdir(parents=True, exist_ok=True)
    return TrackedRun(output, directory, experiment="e", name="one", tags={"seed": "0"})


def rows(output: Path) -> list[RunRow]:
    return read_runs(output, "e")


def test_interrupted_run_goes_on_as_the_same_tracked_run(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.log_settings({"a": 1})
    first.logger.log_metrics({"loss": 1.0}, step=1)
    again = opened(tmp_path)
    again.log_settings({"a": 1})
    again.logger.log_metrics({"loss": 0.5}, step=2)
    (row,) = rows(tmp_path)
    history = MlflowClient(tracking_uri(tmp_path)).get_metric_history(row.run_id, "loss")
    assert [(entry.step, entry.value) for entry in history] == [(1, 1.0), (2, 0.5)]


def test_stopped_run_is_marked_and_runs_again_on_resume(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.log_settings({"a": 1})
    first.set_status("KILLED")
    assert [row.status for row in rows(tmp_path)] == ["KILLED"]
    opened(tmp_path)
    assert [row.status for row in rows(tmp_path)] == ["RUNNING"]


def test_settings_that_a_resume_changed_are_not_logged_over_the_old(tmp_path: Path) -> None:
    opened(tmp_path).log_settings({"workers": 1})
    opened(tmp_path).log_settings({"workers": 2})
    assert rows(tmp_path)[0].params == {"workers": "1"}


def test_run_that_the_tracker_has_lost_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "runs" / "one"
    directory.mkdir(parents=True)
    (directory / RUN_ID_NAME).write_text("0" * 32)
    opened(tmp_path).log_settings({"a": 1})
    assert "is gone from the tracker: a new one begins" in caplog.text
    assert (directory / RUN_ID_NAME).read_text().strip() == rows(tmp_path)[0].run_id


def test_tracker_that_is_down_at_resume_gets_the_entries_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path).log_settings({"a": 1})

    def down(*_: object, **__: object) -> None:
        raise ConnectionError("down")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "get_run", down)
        again = opened(tmp_path)
        again.log_settings({"a": 1})
        again.logger.log_metrics({"loss": 0.5}, step=2)
    again.logger.close()
    assert [row.metrics for row in rows(tmp_path)] == [{"loss": 0.5}]


@pytest.mark.parametrize("already", [True, False])
def test_step_that_was_saved_but_not_logged_is_logged_once(already: bool, tmp_path: Path) -> None:
    tracked = opened(tmp_path)
    tracked.log_settings({"a": 1})
    if already:
        tracked.logger.log_metrics({"loss": 0.5}, step=2)
    tracked.log_missing({"loss": 0.5}, 2)
    client, run_id = MlflowClient(tracking_uri(tmp_path)), rows(tmp_path)[0].run_id
    assert [entry.step for entry in client.get_metric_history(run_id, "loss")] == [2]


def test_run_that_the_tracker_makes_later_is_noted_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def down(*_: object, **__: object) -> None:
        raise ConnectionError("down")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "create_run", down)
        run = opened(tmp_path)
        run.log_settings({"a": 1})
    assert not (run.directory / RUN_ID_NAME).exists()
    run.logger._silent_until = 0.0
    run.logger.log_metrics({"loss": 1.0}, step=1)
    assert (run.directory / RUN_ID_NAME).read_text().strip() == rows(tmp_path)[0].run_id


def test_machine_is_watched_while_the_run_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    run = opened(tmp_path)
    run.log_settings({"a": 1})
    with run.watching_machine():
        time.sleep(0.5)
    (row,) = rows(tmp_path)
    assert row.metrics["system/system_memory_usage_megabytes"] > 0


def test_tracker_that_is_down_does_not_stop_a_run_that_wants_its_machine_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened(tmp_path)

    def fail(*args: object, **kwargs: object) -> None:
        raise MlflowException("API request failed")

    monkeypatch.setattr(MlflowClient, "create_run", fail)
    with run.watching_machine():
        pass


def test_what_waits_since_a_runs_end_is_delivered_and_the_run_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = opened(tmp_path)
    run.log_settings({"a": 1})

    def down(*_: object, **__: object) -> None:
        raise ConnectionError("down")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", down)
        patch.setattr(MlflowClient, "set_terminated", down)
        run.logger.log_metrics({"mask/test/iou_image": 0.5})
        run.logger.close()
    assert [(row.status, row.metrics) for row in rows(tmp_path)] == [("RUNNING", {})]
    stage = Namespace(output=str(tmp_path), experiment="e", name="one")
    for _ in range(2):
        deliver_spool(stage, run.directory)
    (row,) = rows(tmp_path)
    assert (row.status, row.metrics) == ("FINISHED", {"mask/test/iou_image": 0.5})
