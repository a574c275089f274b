"""A step whose loss or gradient is not finite is left out, and a run that has many is stopped.

Weights and the statistics of batch normalisation stay as they were before it; the average, which
every iteration takes, takes the same weights once more.
"""

import logging
from collections.abc import Iterator

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.optim import Optimizer

from datamodules.sample import Batch

logger = logging.getLogger(__name__)

METRIC = "perf/skipped_steps"
NAMED = 3


class FiniteGuard(Callback):
    """Skips optimizer steps that would put nan or inf into the weights, on all ranks together.

    max_consecutive: after so many in a row ValueError with a diagnosis. A gradient that overflows
    while the loss is finite is how the loss scale of 16-mixed is found: it is left out too, but
    counts as a fault only in a row of so many. `skipped`, logged as `perf/skipped_steps`: faults.
    """

    def __init__(self, max_consecutive: int = 10) -> None:
        if max_consecutive < 1:
            raise ValueError(f"max_consecutive: got {max_consecutive}, expected 1 or more")
        self.max_consecutive = max_consecutive
        self.skipped = 0
        self.consecutive = 0
        self._loss_faulty = torch.tensor(False)
        self._rows: list[int | Tensor] = []
        self._statistics: RunningStatistics | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the first step."""
        self._statistics = RunningStatistics(pl_module)
        self._begin_step(pl_module)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Note whose pictures are in the step."""
        self._rows.append(batch.row)

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Note on the device whether the loss is finite."""
        self._loss_faulty = self._loss_faulty | ~torch.isfinite(loss.detach()).all()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Leave the step out where loss or gradients are not finite on any rank."""
        faults = [self._loss_faulty, ~torch.isfinite(gradient_norms(optimizer)).all()]
        votes = torch.stack([fault.to(pl_module.device).float() for fault in faults])
        # One small reduction, so that all ranks leave out the same steps.
        loss_faulty, gradient_faulty = (
            trainer.strategy.reduce(votes, reduce_op="max") > 0
        ).tolist()
        if loss_faulty or gradient_faulty:
            self._leave_out(trainer, pl_module, optimizer, overflow=not loss_faulty)
        else:
            self.consecutive = 0
        self._begin_step(pl_module)

    def state_dict(self) -> dict[str, int]:
        """The counts."""
        return {"skipped": self.skipped, "consecutive": self.consecutive}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on counting."""
        self.skipped, self.consecutive = state_dict["skipped"], state_dict["consecutive"]

    def _begin_step(self, module: LightningModule) -> None:
        self._loss_faulty = torch.zeros((), dtype=torch.bool, device=module.device)
        self._rows = []
        if self._statistics is not None:
            self._statistics.keep()

    def _leave_out(
        self, trainer: Trainer, module: LightningModule, optimizer: Optimizer, *, overflow: bool
    ) -> None:
        """Take the gradients away, so that the optimizer does nothing; ValueError for one too many.

        overflow: only gradients are not finite, which a loss scale may have caused by design.
        """
        self.consecutive += 1
        words = diagnosis(trainer, module, optimizer, self._rows)
        optimizer.zero_grad(set_to_none=True)
        if self._statistics is not None:
            self._statistics.restore()
        if self.consecutive >= self.max_consecutive:
            raise ValueError(
                f"{self.consecutive} steps in a row had a loss or gradient that is not finite; "
                f"the last: {words}; expected finite ones: lower the learning rate, set "
                "trainer.precision to bf16-mixed or 32-true, or look at these rows of the manifest"
            )
        if overflow and loss_scale(trainer) is not None:
            return
        self.skipped += 1
        logger.warning("step left out, its loss or gradient is not finite: %s", words)
        for tracker in trainer.loggers:
            tracker.log_metrics({METRIC: float(self.skipped)}, step=trainer.global_step)


class RunningStatistics:
    """The buffers of a module's batch normalisation, which a forward pass alone changes."""

    def __init__(self, module: nn.Module) -> None:
        layers = [layer for layer in module.modules() if isinstance(layer, _NormBase)]
        self._live = [buffer for layer in layers if layer.training for buffer in layer.buffers()]
        self._kept: list[Tensor] = []

    def keep(self) -> None:
        """Note them as they are."""
        self._kept = [buffer.clone() for buffer in self._live]

    def restore(self) -> None:
        """Put back what was noted."""
        for live, kept in zip(self._live, self._kept, strict=True):
            live.copy_(kept)


def gradient_norms(optimizer: Optimizer) -> Tensor:
    """The norm of each gradient that this rank holds (N,); one zero where it holds none."""
    gradients = [own_part(gradient) for _, gradient in gradients_of(optimizer)]
    if not gradients:
        return torch.zeros(1)
    return torch.stack([norm.float() for norm in torch._foreach_norm(gradients)])


def gradients_of(optimizer: Optimizer) -> Iterator[tuple[nn.Parameter, Tensor]]:
    """The optimizer's parameters that have a gradient, with it."""
    for group in optimizer.param_groups:
        for weight in group["params"]:
            if weight.grad is not None:
                yield weight, weight.grad


def own_part(gradient: Tensor) -> Tensor:
    """This rank's part of a gradient that may be sharded."""
    to_local = getattr(gradient, "to_local", None)
    return gradient.detach() if to_local is None else to_local().detach()


def diagnosis(
    trainer: Trainer, module: LightningModule, optimizer: Optimizer, rows: list[int | Tensor]
) -> str:
    """Step, rows, losses, parameters and rates of a faulty step, in words."""
    faulty = {
        id(weight)
        for weight, gradient in gradients_of(optimizer)
        if not torch.isfinite(own_part(gradient)).all()
    }
    names = [name for name, weight in module.named_parameters() if id(weight) in faulty]
    losses = {
        name: float(value)
        for name, value in sorted(trainer.callback_metrics.items())
        if "/train/" in name and not name.endswith("_epoch")
    }
    numbers = [row for part in rows for row in torch.as_tensor(part).flatten().tolist()]
    words = [
        f"step {trainer.global_step}",
        f"manifest rows {', '.join(map(str, numbers))}",
        *(f"{name} {value:.4g}" for name, value in losses.items()),
        f"{len(names)} gradients not finite"
        + (f", first {', '.join(names[:NAMED])}" if names else ""),
        f"learning rate {optimizer.param_groups[0]['lr']:.3g}",
    ]
    scale = loss_scale(trainer)
    return "; ".join(words if scale is None else [*words, f"loss scale {scale:g}"])


def loss_scale(trainer: Trainer) -> float | None:
    """The scale of 16-mixed; None for other precisions."""
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    return None if scaler is None else float(scaler.get_scale())
