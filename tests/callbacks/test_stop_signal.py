"""Claims about a training that is told to stop."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from lightning.pytorch import Callback

from callbacks.checkpoint import SIGNALS, RunStopped, StopSignal
from tests.callbacks.saved_training import PlacedBatches, saved_steps, trainer_of
from tests.callbacks.toy_training import ToyModule, toy_loader


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """The handlers of this process are put back."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


class Signalled(ToyModule):
    """Sends itself a signal in the middle of a batch."""

    def __init__(self, number: int, batch: int, *, validating: bool = False) -> None:
        super().__init__()
        self.number, self.batch, self.validating = number, batch, validating

    def training_step(self, batch: object, batch_idx: int) -> object:  # type: ignore[override]
        if batch_idx == self.batch and not self.validating:
            os.kill(os.getpid(), self.number)
        return super().training_step(batch, batch_idx)  # type: ignore[arg-type]

    def validation_step(self, batch: object, batch_idx: int) -> None:
        if self.validating:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize("number", SIGNALS)
def test_signal_lets_the_step_end_and_saves_it(number: int, tmp_path: Path) -> None:
    name = signal.Signals(number).name
    with pytest.raises(RunStopped, match=f"stopped by {name} at step 2, step 2 is saved"):
        trainer_of(tmp_path, [StopSignal()]).fit(Signalled(number, 1), PlacedBatches())  # type: ignore[arg-type]
    assert saved_steps(tmp_path) == [2]


def test_signal_between_optimizer_steps_waits_for_the_next(tmp_path: Path) -> None:
    trainer = trainer_of(tmp_path, [StopSignal()], accumulate=2)
    with pytest.raises(RunStopped, match="at step 1, step 1 is saved"):
        trainer.fit(Signalled(signal.SIGTERM, 0), PlacedBatches())  # type: ignore[arg-type]
    assert trainer.fit_loop.batch_idx == 1


def test_signal_in_the_last_batch_saves_the_epoch(tmp_path: Path) -> None:
    with pytest.raises(RunStopped, match="at step 4, step 4 is saved"):
        trainer_of(tmp_path, [StopSignal()]).fit(Signalled(signal.SIGTERM, 3), PlacedBatches())  # type: ignore[arg-type]


def test_signal_in_the_last_step_of_all_stops_after_training(tmp_path: Path) -> None:
    class Late(Callback):
        def on_train_end(self, *_: object) -> None:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(RunStopped, match="stopped by SIGTERM after training"):
        trainer_of(tmp_path, [Late(), StopSignal()]).fit(ToyModule(), PlacedBatches())  # type: ignore[arg-type]


def test_signal_outside_training_stops_at_once(tmp_path: Path) -> None:
    module = Signalled(signal.SIGTERM, 0, validating=True)
    trainer = trainer_of(tmp_path, [StopSignal()])
    with pytest.raises(RunStopped, match=r"stopped by SIGTERM$"):
        trainer.validate(module, toy_loader(3), verbose=False)


def test_signals_are_heard_inside_the_context_alone() -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    stop = StopSignal()
    with pytest.raises(RunStopped), stop.listening():
        os.kill(os.getpid(), signal.SIGTERM)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_stop_is_not_forgiven_by_who_forgives_errors() -> None:
    assert not issubclass(RunStopped, Exception)
