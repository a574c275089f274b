"""A run that is told to stop (SIGTERM, SIGUSR1) does so where nothing is lost.

Training stops after the optimizer step that is under way, on all ranks at the same one, once
`safe_checkpoint.py` has saved it; everything else stops at once.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from lightning import Callback, LightningModule, Trainer
from torch.optim import Optimizer

from callbacks.rank_vote import any_rank

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


class RunStopped(BaseException):
    """The run was told to stop and has stopped; what is done so far lies on the disk.

    No Exception, so that whatever forgives errors on its way does not forgive this.
    """


class StopSignal(Callback):
    """Notes the signal, and lets all ranks agree on the step after which they stop.

    requested: the signal that came, empty while there was none; agreed: whether this step is
    everybody's last. Lightning's own handlers, which stop without saving, are replaced.
    """

    def __init__(self) -> None:
        self.requested = ""
        self.agreed = False
        self._training = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Hear the signals inside this context."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self._listen()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """From here on a signal waits for the step's end."""
        self._training, self.agreed = True, False
        self._listen()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hear the signals instead of Lightning."""
        self._listen()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Hear the signals instead of Lightning."""
        self._listen()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Ask all ranks whether one was told to stop."""
        self._ask(trainer)

    def on_validation_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        """Stop inside a validation too, where no other rank waits for this one."""
        if self._training and trainer.world_size == 1:
            self.agreed = bool(self.requested)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Ask once more: the signal may have come while validating."""
        self._ask(trainer)

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop here if a signal came with the last step."""
        self._training = False
        if self.requested:
            raise RunStopped(f"stopped by {self.requested} after training")

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Training is over."""
        self._training = False

    def _ask(self, trainer: Trainer) -> None:
        requested = bool(self.requested)
        alone = trainer.world_size == 1
        self.agreed = requested if alone else any_rank(trainer, [requested])[0]

    def _listen(self) -> None:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                signal.signal(number, self._hear)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        self.requested = signal.Signals(number).name
        if not self._training:
            raise RunStopped(f"stopped by {self.requested}")


def stop_signal_of(trainer: Trainer) -> StopSignal | None:
    """The trainer's StopSignal, if it has one."""
    return next((one for one in trainer.callbacks if isinstance(one, StopSignal)), None)  # type: ignore[attr-defined]
