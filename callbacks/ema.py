"""Exponential moving average of the trainable weights, on Lightning's own weight averaging.

The averages validate, are tested, are what a checkpoint's `state_dict` holds, and so feed
stage 2; the weights that train lie beside them in the checkpoint for an exact resume.
"""

from collections.abc import Iterator

import torch
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint, WeightAveraging
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

LIVE_KEY = "current_model_state"
AVERAGING_KEY = "averaging_state"


class TrainableWeights(nn.Module):
    """The trainable parameters of a module, the very same objects, under their names.

    Averaging these alone keeps a frozen U-Net from being held twice, and leaves buffers to the
    live module: a calibrated threshold is never averaged or swapped away.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        trainable = [weight for weight in module.parameters() if weight.requires_grad]
        place = {id(weight): index for index, weight in enumerate(trainable)}
        self.weights = nn.ParameterList(trainable)
        named = module.named_parameters(remove_duplicate=False)
        # A tied weight has two names and one place.
        self.places = {name: place[id(weight)] for name, weight in named if weight.requires_grad}

    def named_weights(self) -> Iterator[tuple[str, Tensor]]:
        """Name in the module, and value, of each weight."""
        for name, index in self.places.items():
            yield name, self.weights[index].data


class WeightEma(WeightAveraging):
    """EMA of the weights after every optimizer step: `average += (1 - decay) (weight - average)`.

    warmup: the decay of step n is at most (1 + n) / (10 + n), so that short runs average too.
    Weights that are frozen when fit starts are left alone. Unlike Lightning's callback,
    validation never sees weights that no step has averaged (pytorch-lightning#21724), a
    checkpoint may be loaded outside fit, and one saved in mid-validation resumes exactly.
    Not for sharded strategies.
    """

    def __init__(
        self, decay: float = 0.9999, *, warmup: bool = True, device: str | None = None
    ) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay: got {decay}, expected a number in [0, 1)")
        super().__init__(device=device, use_buffers=False, multi_avg_fn=self._average)
        self.decay = decay
        self.warmup = warmup
        self._live: TrainableWeights | None = None
        self._swapped = False

    def decay_at(self, update_count: int) -> float:
        """The decay after so many averaged steps."""
        if not self.warmup:
            return self.decay
        return min(self.decay, (1 + update_count) / (10 + update_count))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget the averages of an earlier fit; outside fit the module is used as it is."""
        self._average_model = None
        self._live = None
        self._swapped = False
        if stage != "fit":
            return
        self._latest_update_step = 0
        for callback in trainer.checkpoint_callbacks:
            if isinstance(callback, ModelCheckpoint) and callback.save_weights_only:
                raise ValueError(
                    "save_weights_only: got true beside WeightEma, expected false: Lightning "
                    "would save the weights without their averages"
                )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the averages at the module's weights, unless a checkpoint brought them."""
        average = self._ensure_average(pl_module)
        average.to(self._device or pl_module.device)

    def on_train_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        outputs: object,
        batch: object,
        batch_idx: int,
    ) -> None:
        """Average after each optimizer step."""
        step = trainer.global_step
        if step > self._latest_update_step and self.should_update(step_idx=step - 1):
            assert self._average_model is not None and self._live is not None
            self._average_model.update_parameters(self._live)
            self._latest_update_step = step

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let the averages validate, up to the end of every `on_validation_epoch_end`."""
        if self._update_count() > 0:
            self._exchange()

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the training weights back."""
        if self._swapped:
            self._exchange()

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing: Lightning swaps here, whether or not there are averages."""

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Nothing: the module computes its metrics after this hook, still on the averages."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the averages in the module; the training weights are kept for a checkpoint."""
        if self._update_count() > 0 and not self._swapped:
            self._exchange()

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Put the averages into `state_dict` and the training weights beside it."""
        if self._update_count() == 0:
            return
        assert self._live is not None and self._average_model is not None
        average = self._average_weights()
        live, averaged = (average, self._live) if self._swapped else (self._live, average)
        state = dict(_state_dict(checkpoint))
        state.update((name, value) for name, value in averaged.named_weights() if name in state)
        checkpoint["state_dict"] = state
        checkpoint[LIVE_KEY] = dict(live.named_weights())
        checkpoint[AVERAGING_KEY] = {"n_averaged": self._average_model.n_averaged}

    def on_load_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """On resume, training weights and averages each return; else the averages stay loaded."""
        if trainer.state.fn != "fit" or LIVE_KEY not in checkpoint:
            return
        # The module already holds `state_dict`, so the copy that is made here is the average.
        average = self._ensure_average(pl_module)
        assert self._live is not None
        live, averaging = checkpoint[LIVE_KEY], checkpoint[AVERAGING_KEY]
        assert isinstance(live, dict) and isinstance(averaging, dict)
        names = set(self._live.places)
        if set(live) != names:
            raise ValueError(
                f"checkpoint: got {len(live)} trainable weights, expected {len(names)} "
                f"(first difference: {min(set(live) ^ names)}); resume with the same frozen parts"
            )
        average.n_averaged.copy_(averaging["n_averaged"])
        for name, value in self._live.named_weights():
            value.copy_(live[name])

    def _ensure_average(self, module: LightningModule) -> AveragedModel:
        """The averaged weights, made as a copy of the module's on the first call."""
        if self._average_model is None:
            self._live = TrainableWeights(module)
            self._average_model = AveragedModel(self._live, use_buffers=False, **self._kwargs)
        return self._average_model

    def _average_weights(self) -> TrainableWeights:
        """The copy that holds the averages, or the training weights while swapped."""
        assert self._average_model is not None
        weights = self._average_model.module
        assert isinstance(weights, TrainableWeights)
        return weights

    def _update_count(self) -> int:
        """Steps that have been averaged; 0 outside fit."""
        return 0 if self._average_model is None else int(self._average_model.n_averaged)

    def _exchange(self) -> None:
        """Swap the values of the module's trainable weights with the averages."""
        assert self._live is not None
        pairs = zip(self._live.weights, self._average_weights().weights, strict=True)
        for live, average in pairs:
            kept = live.data.clone()
            live.data.copy_(average.data)
            average.data.copy_(kept)
        self._swapped = not self._swapped

    @torch.no_grad()
    def _average(
        self, averages: list[Tensor], weights: list[Tensor], update_count: Tensor | int
    ) -> None:
        """One EMA step, in place, on tensors of one device and dtype."""
        decay = self.decay_at(int(update_count))
        torch._foreach_lerp_(averages, weights, 1.0 - decay)


def _state_dict(checkpoint: dict[str, object]) -> dict[str, Tensor]:
    """The checkpoint's state_dict."""
    state = checkpoint["state_dict"]
    assert isinstance(state, dict)
    return state
