"""Claims about a logger whose tracker goes away."""

import json
from pathlib import Path

import pytest
from lightning import Trainer
from lightning.pytorch.demos.boring_classes import BoringModel
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from experiments.running.spooled_logger import SpooledMLFlowLogger
from experiments.runs import initialise_tracking, read_runs


@pytest.fixture
def tracked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SpooledMLFlowLogger:
    """A logger that tries again at every entry."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    uri = initialise_tracking(tmp_path)
    return SpooledMLFlowLogger(
        "study", tracking_uri=uri, spool_folder=tmp_path / "run", retry_seconds=0.0
    )


def cut_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the tracker fail as it does when the server is gone."""

    def fail(*args: object, **kwargs: object) -> None:
        raise MlflowException("API request failed")

    monkeypatch.setattr(MlflowClient, "log_batch", fail)


def test_metrics_outlive_the_tracker(
    tracked: SpooledMLFlowLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
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


def test_figures_of_a_test_are_bars_and_no_curve(tracked: SpooledMLFlowLogger) -> None:
    values = {"mask/test/iou_image": 0.5, "perf/test_ms_per_image": 9.0, "mask/val/iou_image": 0.4}
    tracked.log_metrics(values, step=80)
    steps = {
        name: tracked.experiment.get_metric_history(tracked.run_id, name)[0].step for name in values
    }
    assert list(steps.values()) == [0, 0, 80]


def test_end_of_training_replays_the_spool(
    tracked: SpooledMLFlowLogger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as down:
        cut_the_line(down)
        tracked.log_metrics({"loss": 2.0})
    tracked.close()
    [row] = read_runs(tmp_path, "study")
    assert (row.status, row.metrics) == ("FINISHED", {"loss": 2.0})


def test_run_is_finished_when_all_is_done_and_not_after_its_training(
    tracked: SpooledMLFlowLogger, tmp_path: Path
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
    gone = SpooledMLFlowLogger("study", tracking_uri="http://127.0.0.1:9", spool_folder=tmp_path)
    gone.log_metrics({"loss": 2.0})
    gone.log_tags({"stage": "pretrain"})
    gone.close()
    assert len((tmp_path / "spool.jsonl").read_text().splitlines()) == 2
    assert "metrics wait in" in caplog.text


def test_refused_value_is_dropped_not_spooled(
    tracked: SpooledMLFlowLogger, caplog: pytest.LogCaptureFixture
) -> None:
    tracked.log_hyperparams({"width": 8})
    tracked.log_hyperparams({"width": 9})
    assert not tracked.spool_path.exists()
    assert "refused params" in caplog.text


def test_line_cut_by_a_crash_does_not_stop_the_replay(tracked: SpooledMLFlowLogger) -> None:
    tracked.spool_path.parent.mkdir(parents=True)
    tracked.spool_path.write_text('{"kind": "met\n{"kind": "tags", "values": {"a": "b"}}\n')
    tracked.log_metrics({"loss": 1.0})
    assert tracked.experiment.get_run(tracked.run_id).data.tags["a"] == "b"


def test_spool_that_cannot_be_written_does_not_stop_training(
    tracked: SpooledMLFlowLogger,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    (tmp_path / "file").write_text("no folder")
    tracked.spool_path = tmp_path / "file" / "spool.jsonl"
    cut_the_line(monkeypatch)
    tracked.log_metrics({"loss": 1.0}, step=1)
    assert "an entry for the tracker is lost, training goes on" in caplog.text


def test_data_are_an_input_of_the_run(tracked: SpooledMLFlowLogger) -> None:
    tracked.log_dataset("tiles", "ab" * 32, {"train": 6, "test": 3})
    (found,) = tracked.experiment.get_run(tracked.run_id).inputs.dataset_inputs
    assert [tag.value for tag in found.tags] == ["train, test"]
    assert found.dataset.name == "tiles" and found.dataset.digest == "ab" * 18
    assert json.loads(found.dataset.profile) == {"train": 6, "test": 3}
