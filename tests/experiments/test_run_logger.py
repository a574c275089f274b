"""Claims about a run's logger: its tracker goes away and comes back, the run is interrupted."""

import json
import time
from pathlib import Path

import pytest
from jsonargparse import Namespace
from lightning import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from mlflow.entities import Metric
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from experiments.run_logger import RUN_ID_NAME, RunLogger
from experiments.tracking import RunRow, initialise_tracking, read_runs
from experiments.train import deliver_spool


@pytest.fixture(autouse=True)
def _no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


def opened(output: Path) -> RunLogger:
    """The logger of the run directory `one`, which tries again at every entry."""
    directory = output / "runs" / "one"
    directory.mkdir(parents=True, exist_ok=True)
    initialise_tracking(output)
    tracked = RunLogger(output, "e", "one", {"seed": "0"}, directory=directory, retry_seconds=0.0)
    if tracked.is_new:
        tracked.log_hyperparams({"a": 1})
    return tracked


@pytest.fixture
def tracked(tmp_path: Path) -> RunLogger:
    return opened(tmp_path)


def row(output: Path) -> RunRow:
    (only,) = read_runs(output, "e")
    return only


def history(tracked: RunLogger, name: str) -> list[tuple[int, float]]:
    found: list[Metric] = tracked.experiment.get_metric_history(str(tracked.run_id), name)
    return [(point.step, point.value) for point in found]


def cut_the_line(monkeypatch: pytest.MonkeyPatch, *calls: str) -> None:
    """Make the tracker fail as it does when the server is gone."""

    def fail(*args: object, **kwargs: object) -> None:
        raise MlflowException("API request failed")

    for call in calls or ("log_batch",):
        monkeypatch.setattr(MlflowClient, call, fail)


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
    assert history(tracked, "loss") == [(1, 3.0), (2, 2.0), (3, 1.0)]
    assert row(tmp_path).params == {"a": "1", "width": "8"}
    assert not tracked.spool_path.exists()


def test_figures_of_a_test_are_bars_and_no_curve(tracked: RunLogger) -> None:
    values = {"mask/test/iou_image": 0.5, "perf/test_ms_per_image": 9.0, "mask/val/iou_image": 0.4}
    tracked.log_metrics(values, step=80)
    assert [history(tracked, name)[0][0] for name in values] == [0, 0, 80]


def test_run_is_finished_when_all_is_done_and_not_after_its_training(
    tracked: RunLogger, tmp_path: Path
) -> None:
    trainer = Trainer(
        logger=tracked, max_steps=1, limit_val_batches=0, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
    )  # fmt: skip
    trainer.fit(BoringModel())
    states = [row(tmp_path).status]
    for end in (tracked.close, lambda: tracked.finalize("failed")):
        end()
        states.append(row(tmp_path).status)
    assert states == ["RUNNING", "FINISHED", "FAILED"]


def test_server_that_never_answers_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    gone = RunLogger(tmp_path, "e", "one", {}, directory=tmp_path)
    with gone.watching_machine():
        gone.log_metrics({"loss": 2.0})
    gone.log_tags({"stage": "pretrain"})
    gone.close()
    assert len((tmp_path / "spool.jsonl").read_text().splitlines()) == 2
    assert "metrics wait in" in caplog.text


def test_refused_value_is_dropped_not_spooled(
    tracked: RunLogger, caplog: pytest.LogCaptureFixture
) -> None:
    tracked.log_hyperparams({"a": 9})
    assert not tracked.spool_path.exists()
    assert "refused params" in caplog.text


def test_line_cut_by_a_crash_does_not_stop_the_replay(tracked: RunLogger, tmp_path: Path) -> None:
    tracked.spool_path.write_text('{"kind": "met\n{"kind": "tags", "values": {"a": "b"}}\n')
    tracked.log_metrics({"loss": 1.0})
    assert row(tmp_path).tags["a"] == "b"


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


def test_stopped_run_goes_on_as_the_same_tracked_run(tracked: RunLogger, tmp_path: Path) -> None:
    tracked.log_metrics({"loss": 1.0}, step=1)
    tracked.set_status("KILLED")
    assert row(tmp_path).status == "KILLED"
    again = opened(tmp_path)
    again.log_metrics({"loss": 0.5}, step=2)
    assert row(tmp_path).status == "RUNNING"
    assert history(again, "loss") == [(1, 1.0), (2, 0.5)]


def test_run_that_the_tracker_has_lost_begins_anew(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    note = tmp_path / "runs" / "one" / RUN_ID_NAME
    note.parent.mkdir(parents=True)
    note.write_text("0" * 32)
    opened(tmp_path)
    assert "is gone from the tracker: a new one begins" in caplog.text
    assert note.read_text().strip() == row(tmp_path).run_id


def test_tracker_that_is_down_at_resume_gets_the_entries_later(
    tracked: RunLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as down:
        cut_the_line(down, "get_run", "log_batch")
        again = opened(tmp_path)
        again.log_metrics({"loss": 0.5}, step=2)
    again.close()
    assert row(tmp_path).metrics == {"loss": 0.5}


def test_run_that_the_tracker_makes_later_is_noted_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as down:
        cut_the_line(down, "create_run")
        run = opened(tmp_path)
    note = tmp_path / "runs" / "one" / RUN_ID_NAME
    assert not note.exists()
    run.log_metrics({"loss": 1.0}, step=1)
    assert note.read_text().strip() == row(tmp_path).run_id


def test_machine_is_watched_while_the_run_lasts(
    tracked: RunLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL", "0.05")
    with tracked.watching_machine():
        time.sleep(0.5)
    assert row(tmp_path).metrics["system/system_memory_usage_megabytes"] > 0


def test_what_waits_since_a_runs_end_is_delivered_and_the_run_is_finished(
    tracked: RunLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as down:
        cut_the_line(down, "log_batch", "set_terminated")
        tracked.log_metrics({"mask/test/iou_image": 0.5})
        tracked.close()
    assert (row(tmp_path).status, row(tmp_path).metrics) == ("RUNNING", {})
    stage = Namespace(output=str(tmp_path), experiment="e", name="one")
    for _ in range(2):
        deliver_spool(stage, tmp_path / "runs" / "one")
    assert (row(tmp_path).status, row(tmp_path).metrics) == (
        "FINISHED", {"mask/test/iou_image": 0.5},
    )  # fmt: skip
