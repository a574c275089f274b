"""Holds when training is saved and stopped, that files are whole, and that a resume goes on."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from lightning import Callback, Trainer
from lightning.pytorch.loggers import CSVLogger

from callbacks.checkpoint import (
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
from tests.callbacks.toy_training import PlacedBatches, ToyModule, toy_loader, toy_trainer

REPOSITORY = Path(__file__).parents[2]
CONTENT: dict[str, object] = {"weight": torch.arange(100_000), "step": 7}
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

    def save(self, trainer: Trainer, *, validation_pending: bool = False) -> None:
        super().save(trainer, validation_pending=validation_pending)
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


def test_newest_are_kept_with_averages_and_training_weights(tmp_path: Path) -> None:
    module = ToyModule()
    fit(tmp_path, WeightEma(), SafeCheckpoint(1, keep=3), module=module)
    assert saved_steps(tmp_path) == [6, 7, 8]
    saved = torch.load(tmp_path / LAST, weights_only=True)
    assert saved["state_dict"]["head.weight"].equal(module.head.weight)
    assert not saved[LIVE_KEY]["head.weight"].equal(module.head.weight)


@pytest.mark.parametrize(
    ("step", "settings"),
    [(1, {}), (3, {}), (4, {}), (6, {}), (1, {"accumulate": 2}), (2, {"accumulate": 2})],
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


@contextmanager
def disk_of(byte_count: int) -> Iterator[None]:
    """Inside, no file can become longer, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (byte_count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_full_disk_keeps_the_last_good_checkpoint_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Filling(Witness):
        def save(self, trainer: Trainer, *, validation_pending: bool = False) -> None:
            with disk_of(1_000 if trainer.global_step >= 5 else resource.RLIM_INFINITY):
                super().save(trainer, validation_pending=validation_pending)

    trainer = fit(tmp_path, Filling(1), logger=CSVLogger(tmp_path, "csv", ""))
    assert trainer.global_step == 8 and saved_steps(tmp_path) == [3, 4]
    assert torch.load(tmp_path / LAST)["global_step"] == 4
    assert "took only a part" in caplog.text and "free space" in caplog.text
    assert "perf/failed_checkpoints" in (tmp_path / "csv" / "metrics.csv").read_text()


def test_disk_that_recovers_is_saved_to_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = iter(range(99))

    def refuse_once(*words: object) -> None:
        if next(calls) == 0:
            raise OSError(28, "No space left on device")
        write_checkpoint(*words)  # type: ignore[arg-type]

    monkeypatch.setattr("callbacks.checkpoint.write_checkpoint", refuse_once)
    fit(tmp_path, SafeCheckpoint(5), max_epochs=1)
    assert saved_steps(tmp_path) == [4]


@pytest.mark.parametrize("has_links", [True, False])
def test_last_is_the_same_file_or_a_copy(
    has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    if not has_links:
        monkeypatch.setattr("os.link", refuse)
    path = step_path(tmp_path, 7)
    write_checkpoint(CONTENT, path)
    publish(path, keep=2)
    assert path.samefile(tmp_path / "last.ckpt") is has_links
    assert (tmp_path / "last.ckpt").read_bytes() == path.read_bytes()


@pytest.mark.parametrize(("newest", "kept"), [(3, [2, 3, 9]), (2, [1, 2, 3, 9])])
def test_older_files_go_and_later_ones_do_not_count(
    newest: int, kept: list[int], tmp_path: Path
) -> None:
    for step in (1, 2, 3, 9):
        write_checkpoint({"step": step}, step_path(tmp_path, step))
    publish(step_path(tmp_path, newest), keep=2)
    assert sorted(step_of(path) for path in tmp_path.glob("*.ckpt")) == [-1, *kept]


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".step_00000007.ckpt.99.unfinished").write_bytes(b"half")
    fit(tmp_path, max_epochs=1)
    assert not list(tmp_path.rglob(".*"))


@pytest.mark.parametrize("settings", [{"every_steps": 0}, {"keep": 1}])
def test_settings_that_would_lose_work_are_refused(settings: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="checkpoints: got every_steps"):
        SafeCheckpoint(**settings)


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


def test_signal_outside_training_stops_at_once(tmp_path: Path) -> None:
    trainer = toy_trainer(tmp_path, [StopSignal()])
    with pytest.raises(RunStopped, match=r"stopped by SIGTERM$"):
        trainer.validate(Signalled(validation=0), toy_loader(3), verbose=False)


def test_signals_are_heard_inside_the_context_and_not_forgiven() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    with pytest.raises(RunStopped), StopSignal().listening():
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in SIGNALS] == before
    assert not issubclass(RunStopped, Exception)


def counts(done: int, completed: int) -> dict[str, int]:
    return {"ready": done, "started": done, "processed": done, "completed": completed}


def stood(*, done: int, is_last_batch: bool = False) -> dict[str, Any]:
    """A checkpoint after so many batches of the second epoch of ten, at the end of a batch."""
    total, current = counts(10 + done, 9 + done), counts(done, done - 1)
    batches = {"total": total, "current": current, "is_last_batch": is_last_batch}
    return {"loops": {"fit_loop": {TRAINED: batches}}}


@pytest.mark.parametrize(("samples", "batches"), [(8, 4), (4, 8), (16, 2), (32, 1)])
def test_place_in_the_epoch_is_counted_in_the_batches_of_now(samples: int, batches: int) -> None:
    saved = stood(done=4)
    count_in_batches_of(saved, saved=8, samples=samples)
    progress = saved["loops"]["fit_loop"][TRAINED]
    assert progress["current"] == counts(batches, batches - 1)
    assert progress["total"] == counts(10 + batches, 9 + batches)


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


# Rank 1 alone gets a nan in its second batch and a signal in its third.
RANKS = """
import os, signal, sys, torch
from dataclasses import dataclass
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader
from callbacks.checkpoint import RunStopped, SafeCheckpoint, StopSignal
from callbacks.finite_guard import FiniteGuard
RANK = os.environ["RANK"]
@dataclass
class Batch:
    image: torch.Tensor
    row: torch.Tensor
class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(2, 1)
    def training_step(self, batch, batch_idx):
        if RANK == "1" and batch_idx == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        factor = float("nan") if RANK == "1" and batch_idx == 1 else 1.0
        return self.head(batch.image * factor).mean()
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.1)
torch.manual_seed(0)
batches = DataLoader([Batch(torch.ones(1, 2), torch.tensor([7]))] * 12, batch_size=None)
guard = FiniteGuard()
trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, logger=False,
    callbacks=[guard, StopSignal(), SafeCheckpoint()], default_root_dir=sys.argv[1],
    enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False)
module = Module()
try:
    trainer.fit(module, batches)
except RunStopped:
    finite = bool(torch.isfinite(module.head.weight).all())
    said = f"rank {RANK}: step {trainer.global_step} skipped {guard.skipped} {finite}\\n"
    os.write(1, said.encode())  # at once: print would mix the ranks' lines
torch.distributed.destroy_process_group()
"""


@pytest.mark.slow
def test_fault_and_signal_of_one_rank_are_everybodys(tmp_path: Path) -> None:
    script = tmp_path / "training.py"
    script.write_text(RANKS)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [sys.executable, *launcher, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    said = {line for line in ended.stdout.splitlines() if line.startswith("rank ")}
    assert said == {f"rank {rank}: step 3 skipped 1 True" for rank in (0, 1)}
    assert saved_steps(tmp_path) == [3]
