"""The random numbers of training: kept apart from all others, and carried over a resume.

What starts a loader, validates or draws a picture takes none of them, so an interrupted run draws
the same numbers as an unbroken one.
"""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

KEY = "random_states"


@dataclass(frozen=True, slots=True)
class RandomStates:
    """Generators of Python, NumPy, torch and, on a GPU, of this process's device."""

    python: Any
    numpy: Any
    cpu: Tensor
    cuda: Tensor | None

    @staticmethod
    def now() -> "RandomStates":
        """The states as they are."""
        on_gpu = torch.cuda.is_available() and torch.cuda.is_initialized()
        cuda = torch.cuda.get_rng_state() if on_gpu else None
        return RandomStates(random.getstate(), np.random.get_state(), torch.get_rng_state(), cuda)

    def restore(self) -> None:
        """Go on with these states."""
        random.setstate(self.python)
        np.random.set_state(self.numpy)
        torch.set_rng_state(self.cpu)
        if self.cuda is not None and torch.cuda.is_available():
            torch.cuda.set_rng_state(self.cuda)

    def plain(self) -> dict[str, object]:
        """The states in types that a checkpoint may hold without a pickle that runs code."""
        kind, keys, *rest = self.numpy
        return {
            "python": self.python,
            "numpy": [kind, torch.from_numpy(keys.astype(np.int64)), *rest],
            "cpu": self.cpu,
            "cuda": self.cuda,
        }

    @staticmethod
    def from_plain(states: dict[str, Any]) -> "RandomStates":
        """The states that `plain` told."""
        version, numbers, gauss = states["python"]
        kind, keys, *rest = states["numpy"]
        return RandomStates(
            (version, tuple(numbers), gauss),
            (kind, keys.numpy().astype(np.uint32), *rest),
            states["cpu"].cpu(),
            None if states["cuda"] is None else states["cuda"].cpu(),
        )


class TrainingRandomness(Callback):
    """Every training batch draws on where the one before stopped, also after a resume.

    A checkpoint holds the states of all ranks; a rank that it does not know keeps its own seed.
    """

    def __init__(self) -> None:
        self._kept: RandomStates | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget what an earlier fit left."""
        self._kept = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with what the seed has set, unless a checkpoint brought something."""
        self._kept = self._kept or RandomStates.now()

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: object, batch_idx: int
    ) -> None:
        """Go on where the last batch stopped."""
        if self._kept is not None:
            self._kept.restore()

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Note where this batch stopped."""
        self._kept = RandomStates.now()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Put the states of all ranks into the checkpoint."""
        own = (self._kept or RandomStates.now()).plain()
        states = [own] * trainer.world_size
        if trainer.world_size > 1:
            torch.distributed.all_gather_object(states, own)
        checkpoint[KEY] = states

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        """Take this rank's states, where training goes on."""
        states = checkpoint.get(KEY, [])
        if trainer.state.fn == "fit" and trainer.global_rank < len(states):
            self._kept = RandomStates.from_plain(states[trainer.global_rank])
