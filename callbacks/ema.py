"""Exponential moving average of the trainable weights.

The averages validate, are tested, are what a checkpoint's `state_dict` holds, and so feed
stage 2; the weights that train lie beside them in the checkpoint for an exact resume.
"""

from collections.abc import Iterator, Sequence

import torch
from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

LIVE_KEY = "current_model_state"
AVERAGING_KEY = "averaging_state"


class TrainableWeights:
    """The trainable parameters of a module, the very same objects, under their names.

    Averaging these alone keeps a frozen U-Net from being held twice, and leaves buffers to the
    live module: a calibrated threshold is never averaged or swapped away.
    """

    def __init__(self, module: nn.Module) -> None:
        self.weights = [weight for weight in module.parameters() if weight.requires_grad]
        place = {id(weight): index for index, weight in enumerate(self.weights)}
        named = module.named_parameters(remove_duplicate=False)
        # A tied weight has two names and one place.
        self.places = {name: place[id(weight)] for name, weight in named if weight.requires_grad}
        # Taken once: they are written in place by the optimizer, and never moved during a fit.
        self.shares = [share_of(weight) for weight in self.weights]

    def named(self, values: Sequence[Tensor]) -> Iterator[tuple[str, Tensor]]:
        """Name in the module, and whole value, of shares that are held as the weights' own are.

        All processes must ask for all of them: where weights are sharded, each value is gathered.
        """
        whole: dict[int, Tensor] = {}
        for name, index in self.places.items():
            if index not in whole:
                whole[index] = gathered(values[index], like=self.weights[index])
            yield name, whole[index]


def share_of(weight: Tensor) -> Tensor:
    """What this process holds of a weight, sharing its memory: all of it, unless it is sharded."""
    data = weight.detach()
    return data.to_local() if isinstance(data, DTensor) else data


def gathered(share: Tensor, *, like: Tensor) -> Tensor:
    """The whole value of which `share` is held here as the share of `like` is."""
    if not isinstance(like, DTensor):
        return share
    sharded = DTensor.from_local(
        share, like.device_mesh, like.placements, shape=like.shape, stride=like.stride()
    )
    # On the CPU, since all of them at once may not fit beside a training net.
    return sharded.full_tensor().cpu()


def scattered(whole: Tensor, *, like: Tensor) -> Tensor:
    """The share of a whole value that this process holds, as it does of `like`."""
    if not isinstance(like, DTensor):
        return whole.to(like.device)
    sharded = distribute_tensor(whole.to(like.device), like.device_mesh, like.placements)
    return sharded.to_local().clone()


class WeightEma(Callback):
    """EMA of the weights after every optimizer step: `average += (1 - decay) (weight - average)`.

    warmup: the decay of step n is at most (1 + n) / (10 + n), so that short runs average too.
    Weights that are frozen when fit starts are left alone. Where a strategy shards the weights,
    each process averages its own share. Unlike Lightning's callback, validation never sees
    weights that no step has averaged (pytorch-lightning#21724), a checkpoint may be loaded
    outside fit, and one saved in mid-validation resumes exactly.
    """

    def __init__(self, decay: float = 0.9999, *, warmup: bool = True) -> None:
        if not 0.0 <= decay < 1.0:
            raise ValueError(f"decay: got {decay}, expected a number in [0, 1)")
        self.decay = decay
        self.warmup = warmup
        self._forget()

    def _forget(self) -> None:
        self._live: TrainableWeights | None = None
        self._averages: list[Tensor] = []  # empty until a step is averaged
        self._loaded: dict[str, Tensor] = {}
        # A number of this process, so that no step waits for a device to tell it.
        self._update_count = 0
        self._latest_update_step = 0
        self._swapped = False

    def decay_at(self, update_count: int) -> float:
        """The decay after so many averaged steps."""
        if not self.warmup:
            return self.decay
        return min(self.decay, (1 + update_count) / (10 + update_count))

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget the averages of an earlier fit; outside fit the module is used as it is."""
        self._forget()
        for callback in trainer.checkpoint_callbacks if stage == "fit" else ():
            if isinstance(callback, ModelCheckpoint) and callback.save_weights_only:
                raise ValueError(
                    "save_weights_only: got true beside WeightEma, expected false: Lightning "
                    "would save the weights without their averages"
                )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take hold of the weights as the strategy has laid them out, and of loaded averages."""
        self._live = TrainableWeights(pl_module)
        if self._loaded:
            by_place = {place: name for name, place in self._live.places.items()}
            self._averages = [
                scattered(self._loaded[by_place[place]], like=weight)
                for place, weight in enumerate(self._live.weights)
            ]
            self._loaded = {}

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *_: object) -> None:
        """Average after each optimizer step."""
        if trainer.global_step > self._latest_update_step:
            self._latest_update_step = trainer.global_step
            self._average()

    def on_validation_start(self, *_: object) -> None:
        """Let the averages validate, up to the end of every `on_validation_epoch_end`."""
        self._exchange()

    def on_validation_end(self, *_: object) -> None:
        """Put the training weights back."""
        if self._swapped:
            self._exchange()

    def on_train_end(self, *_: object) -> None:
        """Leave the averages in the module; the training weights are kept for a checkpoint."""
        if not self._swapped:
            self._exchange()

    def state_dict(self) -> dict[str, int]:
        """The last step that was averaged."""
        return {"latest_update_step": self._latest_update_step}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on after that step."""
        self._latest_update_step = state_dict["latest_update_step"]

    def on_save_checkpoint(
        self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, object]
    ) -> None:
        """Put the averages into `state_dict` and the training weights beside it."""
        if not self._averages:
            return
        assert self._live is not None
        live, averages = self._live.shares, self._averages
        if self._swapped:
            live, averages = averages, live
        # Where weights are sharded, the processes that save nothing have an empty `state_dict`.
        state = checkpoint["state_dict"]
        assert isinstance(state, dict)
        state = dict(state)
        checkpoint[LIVE_KEY] = {n: v for n, v in self._live.named(live) if n in state}
        state.update((n, v) for n, v in self._live.named(averages) if n in state)
        checkpoint["state_dict"] = state
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
        named = pl_module.named_parameters(remove_duplicate=False)
        weights = {name: weight for name, weight in named if weight.requires_grad}
        if set(live) != weights.keys():
            raise ValueError(
                f"checkpoint: got {len(live)} trainable weights, expected {len(weights)} "
                f"(first difference: {min(set(live) ^ weights.keys())}); resume with the same "
                "frozen parts"
            )
        # The module already holds `state_dict`, which is the averages, and is not sharded yet.
        self._loaded = {name: weight.detach().clone() for name, weight in weights.items()}
        self._update_count = int(averaging["n_averaged"])
        for name, weight in weights.items():
            weight.copy_(live[name])

    def _average(self) -> None:
        """One EMA step in place, of all weights in one call."""
        assert self._live is not None
        if self._averages:
            weight = 1.0 - self.decay_at(self._update_count)
            torch._foreach_lerp_(self._averages, self._live.shares, weight)
        else:
            self._averages = [share.clone() for share in self._live.shares]
        self._update_count += 1

    def _exchange(self) -> None:
        """Swap the values of the module's trainable weights with the averages, if there are any."""
        if not self._averages:
            return
        assert self._live is not None
        for live, average in zip(self._live.shares, self._averages, strict=True):
            kept = live.clone()
            live.copy_(average)
            average.copy_(kept)
        self._swapped = not self._swapped
