"""A step whose loss or gradient is not finite is left out, and a run that has many is stopped.

Weights and the statistics of batch normalisation stay as they were before it; the average, which
every iteration takes, takes the same weights once more.
"""

import logging
from collections.abc import Iterable

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from datamodules.sample import Batch

logger = logging.getLogger(__name__)

METRIC = "perf/skipped_steps"
NAMED = 3
STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


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
        self._statistics: list[Tensor] = []
        self._kept: list[Tensor] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin the first step, with the statistics that a forward pass alone changes."""
        trained = [one for one in pl_module.modules() if one.training]
        named = [pair for one in trained for pair in one.named_buffers(recurse=False)]
        self._statistics = [buffer for name, buffer in named if name in STATISTICS]
        self._begin_step(pl_module)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Note whose images are in the step."""
        self._rows.append(batch.row)

    def on_before_backward(
        self, trainer: Trainer, pl_module: LightningModule, loss: Tensor
    ) -> None:
        """Note on the device whether the loss is finite."""
        self._loss_faulty = self._loss_faulty | ~torch.isfinite(loss.detach()).all()

    def on_before_optimizer_step(
        self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer
    ) -> None:
        """Leave the step out where loss or gradients are not finite on any rank.

        Without gradients the optimizer does nothing. ValueError where it is one too many.
        """
        gradients = local_gradients(pl_module.parameters())
        norms = torch._foreach_norm(gradients) if gradients else [torch.zeros(())]
        gradient_faulty = ~torch.isfinite(torch.stack([norm.float() for norm in norms])).all()
        faults = [one.to(pl_module.device).float() for one in (self._loss_faulty, gradient_faulty)]
        # One small reduction, so that all ranks leave out the same steps.
        votes = trainer.strategy.reduce(torch.stack(faults), reduce_op="max")
        is_loss_faulty, is_gradient_faulty = (votes > 0).tolist()
        if is_loss_faulty or is_gradient_faulty:
            words = diagnosis(trainer, pl_module, self._rows)
            optimizer.zero_grad(set_to_none=True)
            for live, kept in zip(self._statistics, self._kept, strict=True):
                live.copy_(kept)
            self.consecutive += 1
            if self.consecutive >= self.max_consecutive:
                raise ValueError(
                    f"{self.consecutive} steps in a row had a loss or gradient that is not finite; "
                    f"the last: {words}; expected finite ones: lower the learning rate, set "
                    "trainer.precision to bf16-mixed or 32-true, or look at these rows of the "
                    "manifest"
                )
            # A gradient alone may overflow by design, where a loss scale is looked for.
            if is_loss_faulty or getattr(trainer.precision_plugin, "scaler", None) is None:
                self.skipped += 1
                logger.warning("step left out, its loss or gradient is not finite: %s", words)
                for tracker in trainer.loggers:
                    tracker.log_metrics({METRIC: float(self.skipped)}, step=trainer.global_step)
        else:
            self.consecutive = 0
        self._begin_step(pl_module)

    def _begin_step(self, module: LightningModule) -> None:
        self._loss_faulty = torch.zeros((), dtype=torch.bool, device=module.device)
        self._rows = []
        self._kept = [buffer.clone() for buffer in self._statistics]


def local_gradients(weights: Iterable[nn.Parameter]) -> list[Tensor]:
    """What this rank holds of the weights' gradients, of those that have one."""
    gradients = [weight.grad.detach() for weight in weights if weight.grad is not None]
    return [one.to_local() if isinstance(one, DTensor) else one for one in gradients]


def diagnosis(trainer: Trainer, module: LightningModule, rows: list[int | Tensor]) -> str:
    """Step, rows, losses, parameters and rates of a faulty step, in words."""
    names = [
        name
        for name, weight in module.named_parameters()
        if not all(torch.isfinite(one).all() for one in local_gradients([weight]))
    ]
    losses = [
        f"{name} {float(value):.4g}"
        for name, value in sorted(trainer.callback_metrics.items())
        if "/train/" in name and not name.endswith("_epoch")
    ]
    numbers = [str(row) for part in rows for row in torch.as_tensor(part).flatten().tolist()]
    words = [
        f"step {trainer.global_step}",
        f"manifest rows {', '.join(numbers)}",
        *losses,
        f"{len(names)} gradients not finite{', first ' * bool(names)}{', '.join(names[:NAMED])}",
        f"learning rate {trainer.optimizers[0].param_groups[0]['lr']:.3g}",
    ]
    return "; ".join(words)
