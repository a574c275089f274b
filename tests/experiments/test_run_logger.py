"""Claims about a run's logger: its tracker goes away and comes back, the run is interrupted."""

import json
import time
from pathlib import Path

import pytest
from jsonargparse import Namespace
from lightning import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from experiments.run_logger import RUN_ID_NAME, RunLogger
from experiments.tracking import RunRow, initialise_tracking, read_runs, tracking_uri
from experiments.train import deliver_spool


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def tracked(tmp_path: Path) -> RunLogger:
    """A logger that tries again at every entry."""
    initialise_tracking(tmp_path)
    return RunLogger(tmp_path, "study", "run", {}, retry_seconds=0.0)


def cut_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tracker fail as it does when the server is gone."""

    def fail(*args: object, **kwargs: object) -> None:
        raise MlflowException("API request failed")

    monkeypatch.setattr(MlflowClient, "log_batch", fail)


def test_metrics_outlive_the_tracker(
    tracked: RunLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracked.log_metrics({"loss": 3.0}, step=1)
    with monkeypatch.context() as down:
        cut_the_line(down)
        tracked.log_metrics({"loss": 2.0}, step=2)
        tracked.log_hyperparams({"width": 8})
    assert len(tracked.spool_path.read_text().splitlines()) == 2
    tracked.log_metrics({"loss": 1.0}, step=3)
    history = tracked.experiment.get_metric_history(tracked.run_id, "loss")
    assert [(point.step, point.value) for point in history] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert read_runs(tmp_path, "study")[0].params == {"width": "8"}
    assert not tracked.spool_path.exists()


def test_figures_of_a_test_are_bars_and_no_curve(tracked: RunLogger) -> None:
    values = {"mask/test/iou_image": 0.5, "perf/test_ms_per_image": 9.0, "mask/val/iou_image": 0.4}
    tracked.log_metrics(values, step=80)
    steps = {
        name: tracked.experiment.get_metric_history(tracked.run_id, name)[0].step for name in values
    }
    assert list(steps.values()) == [0, 0, 80]


def test_end_of_training_replays_the_spool(
    tracked: RunLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as down:
        cut_the_line(down)
        tracked.log_metrics({"loss": 2.0})
    tracked.close()
    [row] = read_runs(tmp_path, "study")
    assert (row.status, row.metrics) == ("FINISHED", {"loss": 2.0})


def test_run_is_finished_when_all_is_done_and_not_after_its_training(
    tracked: RunLogger, tmp_path: Path
) -> None:
    trainer = Trainer(
        logger=tracked,
        max_steps=1,
        limit_val_batches=0,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        accelerator="cpu",
    )
    trainer.fit(BoringModel())
    states = [read_runs(tmp_path, "study")[0].status]
    for end in (tracked.close, lambda: tracked.finalize("failed")):
        end()
        states.append(read_runs(tmp_path, "study")[0].status)
    assert states == ["RUNNING", "FINISHED", "FAILED"]


def test_server_that_never_answers_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    gone = RunLogger(tmp_path, "study", "run", {}, directory=tmp_path)
    gone.log_metrics({"loss": 2.0})
    gone.log_tags({"stage": "pretrain"})
    gone.close()
    assert len((tmp_path / "spool.jsonl").read_text().splitlines()) == 2
    assert "metrics wait in" in caplog.text


def test_refused_value_is_dropped_not_spooled(
    tracked: RunLogger, caplog: pytest.LogCaptureFixture
) -> None:
    tracked.log_hyperparams({"width": 8})
    tracked.log_hyperparams({"width": 9})
    assert not tracked.spool_path.exists()
    assert "refused params" in caplog.text


def test_line_cut_by_a_crash_does_not_stop_the_replay(tracked: RunLogger) -> None:
    tracked.spool_path.parent.mkdir(parents=True)
    tracked.spool_path.write_text('{"kind": "met\n{"kind": "tags", "values": {"a": "b"}}\n')
    tracked.log_metrics({"loss": 1.0})
    assert tracked.experiment.get_run(tracked.run_id).data.tags["a"] == "b"


def test_spool_that_cannot_be_written_does_not_stop_training(
    tracked: RunLogger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("no folder")
    tracked.spool_path = tmp_path / "file" / "spool.jsonl"
    cut_the_line(monkeypatch)
    tracked.log_metrics({"loss": 1.0}, step=1)
    assert "an entry for the tracker is lost, training goes on" in caplog.text


def test_data_are_an_input_of_the_run(tracked: RunLogger) -> None:
    tracked.log_dataset("tiles", "ab" * 32, {"train": 6, "test": 3})
    (found,) = tracked.experiment.get_run(tracked.run_id).inputs.dataset_inputs
    assert [tag.value for tag in found.tags] == ["train, test"]
    assert found.dataset.name == "tiles" and found.dataset.digest == "ab" * 18
    assert json.loads(found.dataset.profile) == {"train": 6, "test": 3}


def opened(output: Path) -> RunLogger:
    """The logger of the run directory `one`, its settings logged where it is new."""
    directory = output / "runs" / "one"
    directory.mkdir(parents=True, exist_ok=True)
    initialise_tracking(output)
    tracked = RunLogger(output, "e", "one", {"seed": "0"}, id_file=directory / RUN_ID_NAME)
    if tracked.is_new:
        tracked.log_hyperparams({"a": 1})
    return tracked


def rows(output: Path) -> list[RunRow]:
    return read_runs(output, "e")


def test_interrupted_run_goes_on_as_the_same_tracked_run(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.log_metrics({"loss": 1.0}, step=1)
    again = opened(tmp_path)
    again.log_metrics({"loss": 0.5}, step=2)
    (row,) = rows(tmp_path)
    history = MlflowClient(tracking_uri(tmp_path)).get_metric_history(row.run_id, "loss")
    assert [(entry.step, entry.value) for entry in history] == [(1, 1.0), (2, 0.5)]


def test_stopped_run_is_marked_and_runs_again_on_resume(tmp_path: Path) -> None:
    first = opened(tmp_path)
    first.set_status("KILLED")
    assert [row.status for row in rows(tmp_path)] == ["KILLED"]
    opened(tmp_path)
    assert [row.status for row in rows(tmp_path)] == ["RUNNING"]


def test_run_that_the_tracker_has_lost_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    directory = tmp_path / "runs" / "one"
    directory.mkdir(parents=True)
    (directory / RUN_ID_NAME).write_text("0" * 32)
    opened(tmp_path)
    assert "is gone from the tracker: a new one begins" in caplog.text
    assert (directory / RUN_ID_NAME).read_text().strip() == rows(tmp_path)[0].run_id


def test_tracker_that_is_down_at_resume_gets_the_entries_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened(tmp_path)

    def down(*_: object, **__: object) -> None:
        raise ConnectionError("down")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "get_run", down)
        again = opened(tmp_path)
        again.log_metrics({"loss": 0.5}, step=2)
    again.close()
    assert [row.metrics for row in rows(tmp_path)] == [{"loss": 0.5}]


@pytest.mark.parametrize("already", [True, False])
def test_step_that_was_saved_but_not_logged_is_logged_once(already: bool, tmp_path: Path) -> None:
    tracked = opened(tmp_path)
    if already:
        tracked.log_metrics({"loss": 0.5}, step=2)
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
    directory = tmp_path / "runs" / "one"
    assert not (directory / RUN_ID_NAME).exists()
    run._silent_until = 0.0
    run.log_metrics({"loss": 1.0}, step=1)
    assert (directory / RUN_ID_NAME).read_text().strip() == rows(tmp_path)[0].run_id


def test_machine_is_watched_while_the_run_lasts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    run = opened(tmp_path)
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

    def down(*_: object, **__: object) -> None:
        raise ConnectionError("down")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", down)
        patch.setattr(MlflowClient, "set_terminated", down)
        run.log_metrics({"mask/test/iou_image": 0.5})
        run.close()
    assert [(row.status, row.metrics) for row in rows(tmp_path)] == [("RUNNING", {})]
    stage = Namespace(output=str(tmp_path), experiment="e", name="one")
    for _ in range(2):
        deliver_spool(stage, tmp_path / "runs" / "one")
    (row,) = rows(tmp_path)
    assert (row.status, row.metrics) == ("FINISHED", {"mask/test/iou_image": 0.5})
