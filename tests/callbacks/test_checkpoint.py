"""Holds when training is saved and stopped, that files are whole, and that a resume goes on."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.callbacks import EarlyStopping
from lightning.pytorch.loggers import CSVLogger

from callbacks.checkpoint import (
    KEY,
    SIGNALS,
    TRAINED,
    RunStopped,
    SafeCheckpoint,
    StopSignal,
    count_in_batches_of,
    publish,
    step_of,
    step_path,
    write_checkpoint,
)
from callbacks.ema import LIVE_KEY, WeightEma
from callbacks.finite_guard import FiniteGuard
from tests.callbacks.toy_training import PlacedBatches, ToyModule, toy_loader, toy_trainer

REPOSITORY = Path(__file__).parents[2]
LAST = Path("checkpoints") / "last.ckpt"


@pytest.fixture(autouse=True)
def handlers(seed: int) -> Iterator[None]:
    """Seeded; the handlers of this process are put back."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Witness(SafeCheckpoint):
    """Notes after which steps something was saved."""

    def __init__(self, every_steps: int, keep: int = 2) -> None:
        super().__init__(every_steps, keep)
        self.steps: list[int] = []

    def save(self, trainer: Trainer) -> None:
        super().save(trainer)
        self.steps.append(trainer.global_step)


def fit(
    folder: Path,
    *callbacks: Callback,
    module: ToyModule | None = None,
    resume: Path | None = None,
    val: object = None,
    **settings: Any,
) -> Trainer:
    """The trainer after a fit of two epochs of four batches."""
    saves = any(isinstance(callback, SafeCheckpoint) for callback in callbacks)
    own = () if saves else (SafeCheckpoint(),)
    trainer = toy_trainer(folder, (*callbacks, *own), **{"max_epochs": 2, **settings})
    trainer.fit(
        module or ToyModule(),
        PlacedBatches(),  # type: ignore[arg-type]
        val,  # type: ignore[arg-type]
        ckpt_path=resume,
        weights_only=True,
    )
    return trainer


def saved_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in a run's directory."""
    return sorted(int(path.stem[5:]) for path in (folder / "checkpoints").glob("step_*.ckpt"))


@pytest.mark.parametrize(
    ("every_steps", "settings", "steps"),
    [
        (3, {"max_epochs": 3}, [3, 4, 6, 8, 9, 12]),
        (1, {"max_epochs": 1, "accumulate": 2}, [1, 2]),
    ],
    ids=["so many steps and each epoch", "optimizer steps, none within one"],
)
def test_training_is_saved_after(
    every_steps: int, settings: dict[str, int], steps: list[int], tmp_path: Path
) -> None:
    witness = Witness(every_steps)
    fit(tmp_path, witness, **settings)
    assert witness.steps == steps


def test_checkpoint_says_whether_training_stopped_of_itself(tmp_path: Path) -> None:
    stop = EarlyStopping("mask/train/loss", patience=1, min_delta=1000.0)
    trainer = fit(tmp_path, stop, SafeCheckpoint(1, keep=9), max_epochs=9)
    assert trainer.global_step == 8
    folder = tmp_path / "checkpoints"
    stops = [torch.load(step_path(folder, step))[KEY]["stopped"] for step in (4, 7, 8)]
    assert stops == [False, False, True]


def test_step_that_ends_training_is_saved_once_after_its_epoch(tmp_path: Path) -> None:
    witness = Witness(1)
    fit(tmp_path, witness, max_steps=3)
    assert witness.steps == [1, 2, 3]


def test_newest_are_kept_with_averages_and_training_weights(tmp_path: Path) -> None:
    module, unfinished = ToyModule(), ".step_00000007.ckpt.99.unfinished"
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / unfinished).write_bytes(b"of a killed process")
    fit(tmp_path, WeightEma(), SafeCheckpoint(1, keep=3), module=module)
    assert saved_steps(tmp_path) == [6, 7, 8] and not list(tmp_path.rglob(".*"))
    saved = torch.load(tmp_path / LAST, weights_only=True)
    assert saved["state_dict"]["head.weight"].equal(module.head.weight)
    assert not saved[LIVE_KEY]["head.weight"].equal(module.head.weight)


@pytest.mark.parametrize(
    ("step", "settings"),
    [(1, {}), (4, {}), (6, {}), (1, {"accumulate": 2})],
)
def test_resume_ends_where_an_unbroken_training_ends(
    step: int, settings: dict[str, int], tmp_path: Path
) -> None:
    whole, resumed = ToyModule(), ToyModule()
    resumed.load_state_dict(whole.state_dict())
    fit(tmp_path / "a", WeightEma(), SafeCheckpoint(1, 9), module=whole, **settings)
    checkpoint = step_path(tmp_path / "a" / "checkpoints", step)
    witness = Witness(1, 9)
    fit(tmp_path / "b", WeightEma(), witness, module=resumed, resume=checkpoint, **settings)
    assert witness.steps == [one for one in saved_steps(tmp_path / "a") if one > step]
    assert resumed.head.weight.equal(whole.head.weight)


def test_full_disk_keeps_the_last_good_checkpoint_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Filling(Witness):
        def save(self, trainer: Trainer) -> None:
            before = resource.getrlimit(resource.RLIMIT_FSIZE)
            if trainer.global_step >= 5:
                resource.setrlimit(resource.RLIMIT_FSIZE, (1_000, before[1]))
            super().save(trainer)
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    trainer = fit(tmp_path, Filling(1))
    assert trainer.global_step == 8 and saved_steps(tmp_path) == [3, 4]
    assert torch.load(tmp_path / LAST)["global_step"] == 4
    assert "took only a part" in caplog.text and "free space" in caplog.text


@pytest.mark.parametrize(
    ("newest", "kept", "has_links"), [(3, [2, 3, 9], True), (2, [1, 2, 3, 9], False)]
)
def test_older_files_go_later_ones_do_not_count_and_last_is_the_same_file_or_a_copy(
    newest: int, kept: list[int], has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for step in (1, 2, 3, 9):
        write_checkpoint({"step": step}, step_path(tmp_path, step))
    if not has_links:
        monkeypatch.setattr("os.link", lambda *_: os.stat("/nowhere"))
    publish(step_path(tmp_path, newest), keep=2)
    assert sorted(step_of(path) for path in tmp_path.glob("*.ckpt")) == [-1, *kept]
    assert step_path(tmp_path, newest).samefile(tmp_path / "last.ckpt") is has_links
    assert torch.load(tmp_path / "last.ckpt") == {"step": newest}


class Signalled(ToyModule):
    """Sends itself a signal in a batch of training or of validation, number -1 for none."""

    def __init__(self, *, training: int = -1, validation: int = -1, number: int = 15) -> None:
        super().__init__()
        self.places, self.number = (training, validation), number

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        if batch_idx == self.places[0]:
            os.kill(os.getpid(), self.number)
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        super().validation_step(batch, batch_idx)
        if batch_idx == self.places[1]:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_lets_the_step_end_saves_and_logs_it(number: int, tmp_path: Path) -> None:
    name, logger = signal.Signals(number).name, CSVLogger(tmp_path, "csv", "")

    class Logging(Signalled):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            self.log("batch", float(batch_idx))
            return super().training_step(batch, batch_idx)

    with pytest.raises(RunStopped, match=f"stopped by {name} at step 2, step 2 is saved"):
        fit(tmp_path, StopSignal(), module=Logging(training=1, number=number), logger=logger)
    assert saved_steps(tmp_path) == [2]
    logger.save()
    assert (tmp_path / "csv" / "metrics.csv").read_text().splitlines()[-1].startswith("1.0,")


def test_second_ctrl_c_stops_at_once(tmp_path: Path) -> None:
    class Impatient(Signalled):
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            loss = super().training_step(batch, batch_idx)
            return super().training_step(batch, batch_idx) if batch_idx == 1 else loss

    module = Impatient(training=1, number=signal.SIGINT)
    with (
        pytest.raises(RunStopped, match=r"stopped by SIGINT$") as stopped,
        StopSignal().listening(),
    ):
        fit(tmp_path, StopSignal(), module=module)
    assert stopped.value.signal == "SIGINT" and not saved_steps(tmp_path)


def test_signal_that_is_ignored_stays_so(tmp_path: Path) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        with StopSignal().listening():
            os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("batch", "accumulate", "step"),
    [(0, 2, 1), (3, 1, 4)],
    ids=["between optimizer steps it waits for the next", "in the last batch the epoch is saved"],
)
def test_signal_stops_at(batch: int, accumulate: int, step: int, tmp_path: Path) -> None:
    with pytest.raises(RunStopped, match=f"at step {step}, step {step} is saved"):
        fit(tmp_path, StopSignal(), module=Signalled(training=batch), accumulate=accumulate)


def test_validation_that_a_stop_cut_off_is_done_anew(tmp_path: Path) -> None:
    module, resumed = Signalled(validation=1), Signalled()
    with pytest.raises(RunStopped, match="stopped by SIGTERM at step 4, step 4 is saved"):
        fit(tmp_path, StopSignal(), module=module, val=toy_loader(3))
    assert len(module.validated) == 2
    last = tmp_path / LAST
    trainer = fit(tmp_path, StopSignal(), module=resumed, val=toy_loader(3), resume=last)
    assert len(resumed.validated) == 2 * 3 and trainer.global_step == 8


def test_signal_in_the_last_step_of_all_stops_after_training(tmp_path: Path) -> None:
    class Late(Callback):
        def on_train_end(self, *_: object) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunStopped, match="stopped by SIGTERM after training"):
        fit(tmp_path, Late(), StopSignal())


def test_signal_outside_training_stops_at_once_and_is_not_forgiven(tmp_path: Path) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    trainer = toy_trainer(tmp_path, [stop := StopSignal()])
    with pytest.raises(RunStopped, match=r"stopped by SIGTERM$"), stop.listening():
        trainer.validate(Signalled(validation=0), toy_loader(3), verbose=False)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert not issubclass(RunStopped, Exception)


def stood(*, done: int, is_last_batch: bool = False) -> dict[str, Any]:
    """A checkpoint after so many batches of the second epoch of ten, at the end of a batch."""
    total, current = (
        dict.fromkeys(("ready", "started", "processed"), ready) | {"completed": ready - 1}
        for ready in (10 + done, done)
    )
    batches = {"total": total, "current": current, "is_last_batch": is_last_batch}
    return {"loops": {"fit_loop": {TRAINED: batches}}}


@pytest.mark.parametrize(("samples", "batches"), [(8, 4), (4, 8), (16, 2)])
def test_place_in_the_epoch_is_counted_in_the_batches_of_now(samples: int, batches: int) -> None:
    saved = stood(done=4)
    count_in_batches_of(saved, saved=8, samples=samples)
    assert saved == stood(done=batches)


def test_place_inside_a_batch_is_refused_but_not_the_end_of_an_epoch() -> None:
    with pytest.raises(ValueError, match="stands 24 samples into its epoch, which 16 samples"):
        count_in_batches_of(stood(done=3), saved=8, samples=16)
    saved = stood(done=10, is_last_batch=True)
    count_in_batches_of(saved, saved=8, samples=3)
    assert saved == stood(done=10, is_last_batch=True)


def test_other_number_of_samples_a_step_is_refused(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, [one := SafeCheckpoint()])
    trainer.state.fn = "fit"  # type: ignore[assignment]
    trainer.datamodule = SimpleNamespace(plan=lambda _: SimpleNamespace(device_batch_size=8))  # type: ignore[attr-defined]
    progress = {"samples_per_batch": 4, "samples_per_step": 4}
    said = r"with 4 samples a step, got 8: set .*global_batch_size to 4"
    with pytest.raises(ValueError, match=said):
        one.on_load_checkpoint(trainer, ToyModule(), {"progress": progress, "global_step": 4})


class Faulty(Signalled):
    """One rank alone has a nan in its second batch and a signal in its third."""

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = super().training_step(batch, batch_idx)
        return loss * torch.nan if batch_idx == 1 and self.places[0] >= 0 else loss


def train_rank(folder: Path) -> None:
    """What one of two ranks does; it prints how it ended."""
    rank, guard = int(os.environ["RANK"]), FiniteGuard()
    module = Faulty(training=2 if rank == 1 else -1)
    callbacks = [guard, StopSignal(), SafeCheckpoint()]
    trainer = toy_trainer(folder, callbacks, devices=2, strategy="ddp")
    with pytest.raises(RunStopped):
        trainer.fit(module, toy_loader(12))
    finite = bool(torch.isfinite(module.head.weight).all())
    said = f"rank {rank}: step {trainer.global_step} skipped {guard.skipped} {finite}\n"
    os.write(1, said.encode())  # at once: print would mix the ranks' lines
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_fault_and_signal_of_one_rank_are_everybodys(tmp_path: Path) -> None:
    script = tmp_path / "training.py"
    call = f"train_rank(Path({str(tmp_path)!r}))"
    script.write_text(f"from {__name__} import Path, train_rank\n{call}\n")
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [sys.executable, *launcher, str(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    said = {line for line in ended.stdout.splitlines() if line.startswith("rank ")}
    assert said == {f"rank {rank}: step 3 skipped 1 True" for rank in (0, 1)}
    assert saved_steps(tmp_path) == [3]
