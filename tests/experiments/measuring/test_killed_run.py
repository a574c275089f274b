"""Holds that a training which is killed or stopped ends, to the bit, as one that never was."""

import json
import random
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from mlflow.tracking import MlflowClient

from callbacks.checkpoint_file import step_path
from experiments.measuring.killed_run import (
    EPOCHS,
    NAME,
    PATIENCE_S,
    STEPS_PER_EPOCH,
    Journey,
    differences,
    leaves,
)
from experiments.runs import read_runs, tracking_uri

BATCHES = EPOCHS * STEPS_PER_EPOCH
# Gradients of two batches make a step, validation comes in the middle, and workers load.
HARDER = {
    "trainer.accumulate_grad_batches": 2,
    "trainer.val_check_interval": 4,
    "data.init_args.num_workers": 2,
}


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    """No tracker but the runs' own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("journeys")


@pytest.fixture(scope="module")
def unbroken(folder: Path) -> Journey:
    journey = Journey(folder / "unbroken")
    assert journey.finish() == 0, journey.output()
    return journey


def steps_logged(journey: Journey) -> list[int]:
    """The steps of the loss in the one tracked run, which is finished."""
    (row,) = read_runs(journey.folder, NAME)
    assert row.status == "FINISHED"
    client = MlflowClient(tracking_uri(journey.folder))
    return [entry.step for entry in client.get_metric_history(row.run_id, "pretrain/train/loss")]


def test_killed_training_ends_as_the_unbroken_one(unbroken: Journey, folder: Path) -> None:
    journey = Journey(folder / "killed")
    assert journey.kill_often(random.Random(0), 3) == 3
    assert journey.finish("--resume", "auto") == 0
    assert differences(unbroken, journey) == []
    assert sorted(set(steps_logged(journey))) == list(range(BATCHES))


def test_comparison_covers_weights_averages_optimizer_schedule_and_random_states(
    unbroken: Journey,
) -> None:
    found = {name.split(".")[0] for name, _ in leaves(unbroken.newest_checkpoint())}
    parts = "state_dict current_model_state averaging_state optimizer_states lr_schedulers"
    assert {*parts.split(), "random_states", "global_step"} <= found
    assert len(unbroken.notes()) == BATCHES


def test_comparison_sees_another_seed(unbroken: Journey, folder: Path) -> None:
    other = Journey(folder / "other", {"seed": 1, "trainer.max_epochs": 1})
    assert other.finish() == 0
    found = differences(unbroken, other)
    assert any(name.startswith("state_dict") for name in found)
    assert any(name.startswith("note") for name in found)


def test_stopped_training_exits_0_says_how_to_go_on_and_does(
    unbroken: Journey, folder: Path
) -> None:
    journey = Journey(folder / "stopped")
    assert journey.strike(3, signal.SIGTERM) == 0
    said = journey.output()
    assert "stopped by SIGTERM at step " in said and f"--resume {journey.directory}" in said
    assert journey.finish("--resume", str(journey.directory)) == 0
    assert differences(unbroken, journey) == []
    assert steps_logged(journey) == list(range(BATCHES))


def test_run_killed_after_training_is_only_judged_anew(unbroken: Journey, folder: Path) -> None:
    journey = Journey(folder / "judged")
    shutil.copytree(unbroken.folder, journey.folder)
    results = json.loads((unbroken.directory / "results.json").read_text())
    (journey.directory / "results.json").unlink()
    assert journey.finish("--resume", "auto") == 0
    assert json.loads((journey.directory / "results.json").read_text()) == results
    assert len(journey.notes()) == BATCHES


def test_finished_run_is_refused_in_one_line(unbroken: Journey) -> None:
    assert unbroken.finish("--resume", str(unbroken.directory)) == 2
    (*_, line) = unbroken.output().splitlines()
    assert line.startswith("error: --resume") and "the run is finished" in line


@pytest.mark.slow
def test_broken_newest_checkpoint_costs_its_steps_and_nothing_else(
    unbroken: Journey, folder: Path
) -> None:
    journey = Journey(folder / "torn")
    assert journey.strike(7, signal.SIGTERM) == 0
    steps = sorted(journey.directory.glob("checkpoints/step_*.ckpt"))
    steps[-1].write_bytes(steps[-1].read_bytes()[:10_000])
    assert journey.finish("--resume", "auto") == 0
    assert f"{steps[-1].name} is passed over" in journey.output()
    assert differences(unbroken, journey) == []


@pytest.mark.slow
def test_kills_leave_no_trace_with_accumulation_workers_and_validation_in_mid_epoch(
    folder: Path,
) -> None:
    unbroken, journey = Journey(folder / "hard", HARDER), Journey(folder / "hard_killed", HARDER)
    assert unbroken.finish() == 0
    assert journey.kill_often(random.Random(1), 2) == 2
    assert journey.finish("--resume", "auto") == 0
    assert differences(unbroken, journey) == []


@pytest.mark.slow
def test_smaller_passes_of_the_same_step_go_on_with_the_same_samples(folder: Path) -> None:
    def shared(largest: int) -> Journey:
        overrides = {"data.init_args.global_batch_size": 4, "data.init_args.batch_size": largest}
        return Journey(folder / "shared", overrides)

    assert shared(4).strike(1, signal.SIGTERM) == 0
    before = shared(4).notes()
    assert shared(2).finish("--resume", "auto") == 0
    after = shared(2).notes()[len(before) :]
    rows = [row for note in (*before, *after) for row in note["rows"]]  # type: ignore[attr-defined]
    assert len(after[0]["rows"]) == 2 and len(rows) == 2 * BATCHES  # type: ignore[arg-type]
    assert after[-1]["step"] == BATCHES // 2
    whole = Journey(folder / "whole", {"data.init_args.batch_size": 4})
    assert whole.finish() == 0
    assert rows == [row for note in whole.notes() for row in note["rows"]]  # type: ignore[attr-defined]


@pytest.mark.slow
def test_ranks_from_outside_make_one_directory_and_one_tracked_run(folder: Path) -> None:
    journey = Journey(folder / "ranks", {"trainer.devices": 2, "trainer.strategy": "ddp"})
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    words = [sys.executable, *launcher, "-m", "experiments.run", *journey.words()]
    ended = subprocess.run(
        words,
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[3],
        timeout=PATIENCE_S,
    )
    assert ended.returncode == 0, ended.stderr
    assert [path.name for path in (journey.folder / "runs").iterdir()] == [NAME]
    assert steps_logged(journey) == list(range(BATCHES // 2))
    file = step_path(journey.directory / "checkpoints", BATCHES // 2)
    assert len(torch.load(file, weights_only=True)["random_states"]) == 2
