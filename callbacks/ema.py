"""Exponential moving average of the trainable weights.

The averages validate, are tested, are what a checkpoint's `state_dict` holds, and so feed
stage 2; the weights that train lie beside them in the checkpoint for an exact resume.
"""

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

LIVE_KEY = "current_model_state"
AVERAGING_KEY = "averaging_state"


class WeightEma(Callback):
    """EMA of the weights after every optimizer step: `average += (1 - decay) (weight - average)`.

    warmup: the decay of step n is at most (1 + n) / (10 + n), so that short runs average too.
    Frozen weights and buffers are left alone: a calibrated threshold is never averaged. Where a
    strategy shards the weights, each process averages its own share. Unlike Lightning's callback,
    validation never sees weights that no step has averaged (pytorch-lightning#21724), a checkpoint
    may be loaded outside fit, and one saved in mid-validation resumes exactly.
    """

    def __init__(self, decay: float = 0.9999, *, warmup: bool = True) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay: got {decay}, expected a number in [0, 1)")
        self.decay = decay
        self.warmup = warmup
        self._forget()

    def _forget(self) -> None:
        self._weights: dict[str, nn.Parameter] = {}  # a tied weight has two names
        self._averages: dict[nn.Parameter, Tensor] = {}  # empty until a step is averaged
        self._loaded: dict[str, Tensor] = {}
        # A number of this process, so that no step waits for a device to tell it.
        self._update_count = 0
        self._averaged_step = 0
        self._swapped = False

    def decay_at(self, update_count: int) -> float:
        """The decay after so many averaged steps."""
        if not self.warmup:
            return self.decay
        return min(self.decay, (1 + update_count) / (10 + update_count))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget the averages of an earlier fit; outside fit the module is used as it is."""
        self._forget()

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take hold of the weights as the strategy has laid them out, and of loaded averages."""
        self._weights = trainable(pl_module)
        self._averages = {
            weight: shared_as(weight, self._loaded[name])
            for name, weight in self._weights.items()
            if name in self._loaded
        }
        self._loaded = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count optimizer steps."""
        self._averaged_step = trainer.global_step

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Average after each optimizer step, all weights in one call."""
        if trainer.global_step == self._averaged_step:
            return  # within a step of several batches
        self._averaged_step = trainer.global_step
        if self._averages:
            share = 1.0 - self.decay_at(self._update_count)
            torch._foreach_lerp_([*self._averages.values()], [*self._averages], share)
        else:
            self._averages = {w: w.detach().clone() for w in self._weights.values()}
        self._update_count += 1

    @torch.no_grad()
    def _exchange(self, *_: object) -> None:
        """Swap the values of the module's trainable weights with the averages, if there are any."""
        for weight, average in self._averages.items():
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)
        self._swapped = bool(self._averages) and not self._swapped

    # The averages validate, up to the end of every `on_validation_epoch_end`, and stay at the end.
    on_validation_start = on_validation_end = on_train_end = _exchange  # type: ignore[assignment]

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Put the averages into `state_dict` and the training weights beside it."""
        if not self._averages:
            return
        # On every process, since shares are gathered from all; but those that save nothing have
        # an empty `state_dict`.
        pairs = {name: (w.detach(), self._averages[w]) for name, w in self._weights.items()}
        live, averages = (
            {name: gathered(pair[place]) for name, pair in pairs.items()} for place in (0, 1)
        )
        if self._swapped:
            live, averages = averages, live
        state = checkpoint["state_dict"]
        assert isinstance(state, dict)
        checkpoint[LIVE_KEY] = {name: value for name, value in live.items() if name in state}
        checkpoint["state_dict"] = {name: averages.get(name, old) for name, old in state.items()}
        checkpoint[AVERAGING_KEY] = {"n_averaged": torch.tensor(self._update_count)}

    @torch.no_grad()
    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """On resume, training weights and averages each return; else the averages stay loaded."""
        if trainer.state.fn != "fit" or LIVE_KEY not in checkpoint:
            return
        live, averaging = checkpoint[LIVE_KEY], checkpoint[AVERAGING_KEY]
        assert isinstance(live, dict) and isinstance(averaging, dict)
        weights = trainable(pl_module)
        # The module already holds `state_dict`, which is the averages, and is not sharded yet.
        self._loaded = {name: weight.detach().clone() for name, weight in weights.items()}
        self._update_count = int(averaging["n_averaged"])
        for name, weight in weights.items():
            weight.copy_(live[name])


def trainable(module: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters that train, the very same objects, under all their names."""
    named = module.named_parameters(remove_duplicate=False)
    return {name: weight for name, weight in named if weight.requires_grad}


def gathered(value: Tensor) -> Tensor:
    """The whole value, on the CPU where it is sharded: all at once may not fit beside a net."""
    return value.full_tensor().cpu() if isinstance(value, DTensor) else value


def shared_as(weight: nn.Parameter, whole: Tensor) -> Tensor:
    """The value, of which this process holds the share that it holds of the weight."""
    whole = whole.to(weight.device)
    if not isinstance(weight, DTensor):
        return whole
    return distribute_tensor(whole, weight.device_mesh, weight.placements)
