"""Parameter groups and learning-rate schedules of both stages (Tables 2 and 3)."""

import math
from collections.abc import Callable, Iterator
from functools import partial

import lightning
from lightning.pytorch.utilities.types import OptimizerLRSchedulerConfig
from torch import nn
from torch.nn.modules.conv import _ConvNd
from torch.optim import AdamW, Optimizer
from torch.optim.lr_scheduler import LambdaLR

# What is none of these and has columns all the same is an embedding, such as Mask2Former's levels.
MATRIX_LAYERS = (nn.Linear, _ConvNd, nn.MultiheadAttention)


def warm_up_cosine(
    step: int, *, warmup_steps: int, total_steps: int, start: float, floor: float
) -> float:
    """Learning-rate factor: linear from `start` to 1, then a cosine to `floor` (Table 2)."""
    if step < warmup_steps:
        return start + (1 - start) * step / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return floor + (1 - floor) * 0.5 * (1 + math.cos(math.pi * progress))


def warm_up_polynomial(step: int, *, warmup_steps: int, total_steps: int, power: float) -> float:
    """Learning-rate factor: linear from 0 to 1, then (1 - progress) ** power to 0 (Table 3)."""
    if step < warmup_steps:
        return (step + 1) / (warmup_steps + 1)
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return (1 - progress) ** power


def schedule(optimizer: Optimizer, *curves: Callable[[int], float]) -> OptimizerLRSchedulerConfig:
    """Optimizer and per-step schedule, one or one per group, in the form that Lightning takes."""
    scheduler = LambdaLR(optimizer, curves[0] if len(curves) == 1 else list(curves))
    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": scheduler, "interval": "step", "frequency": 1},
    }


def trainable(module: nn.Module) -> Iterator[nn.Parameter]:
    """The parameters that an optimizer may touch."""
    return (parameter for parameter in module.parameters() if parameter.requires_grad)


def split_by_decay(module: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    """Two parameter groups: layers' matrices decay; norms, biases and embeddings do not."""
    matrices = {
        id(parameter)
        for child in module.modules()
        if isinstance(child, MATRIX_LAYERS)
        for parameter in child.parameters(recurse=False)
        if parameter.ndim > 1
    }
    decayed: list[nn.Parameter] = []
    plain: list[nn.Parameter] = []
    for parameter in trainable(module):
        (decayed if id(parameter) in matrices else plain).append(parameter)
    return [
        {"params": decayed, "weight_decay": weight_decay},
        {"params": plain, "weight_decay": 0.0},
    ]


def adamw(groups: list[dict[str, object]], *, lr: float, betas: tuple[float, float]) -> AdamW:
    """AdamW on those groups in its fused form, one kernel for all weights."""
    optimizer = AdamW(groups, lr=lr, betas=betas, fused=True)
    # Else it would take the gradients of 16-mixed as they are, still scaled, and clipping by norm,
    # which must see them unscaled, is refused.
    optimizer._step_supports_amp_scaling = False  # type: ignore[attr-defined]
    return optimizer


def fine_tuning(
    module: lightning.LightningModule,
    *,
    lr: float,
    weight_decay: float,
    warmup_steps: int,
    betas: tuple[float, float] = (0.9, 0.999),
    power: float = 0.9,
) -> OptimizerLRSchedulerConfig:
    """AdamW with warm-up and polynomial decay; norms, biases and embeddings do not decay."""
    optimizer = adamw(split_by_decay(module, weight_decay), lr=lr, betas=betas)
    steps = total_steps(module.trainer)
    curve = partial(warm_up_polynomial, warmup_steps=warmup_steps, total_steps=steps, power=power)
    return schedule(optimizer, curve)


def total_steps(trainer: lightning.Trainer) -> int:
    """Optimizer steps of the whole fit, from config and manifest alone.

    `trainer.estimated_stepping_batches` would give the same number but silently drops the
    resumable loader's state, so it is never touched. Raises ValueError for an endless fit.
    """
    limit = trainer.max_steps if trainer.max_steps and trainer.max_steps > 0 else None
    if not trainer.max_epochs or trainer.max_epochs < 1:
        if limit is not None:
            return limit
        raise ValueError(
            "the schedule needs an end, got neither max_steps nor max_epochs: "
            "set trainer.max_epochs or trainer.max_steps"
        )
    steps = trainer.max_epochs * steps_per_epoch(trainer)
    return min(steps, limit or steps)


def fit_epochs(trainer: lightning.Trainer) -> int:
    """Epochs of the whole fit; ValueError for an endless one."""
    if not trainer.max_epochs or trainer.max_epochs < 1:
        raise ValueError(
            f"got max_epochs {trainer.max_epochs}, expected 1 or more: the rate falls with the "
            "epochs; set trainer.max_epochs"
        )
    return trainer.max_epochs


def steps_per_epoch(trainer: lightning.Trainer) -> int:
    """Optimizer steps of one epoch, of which `limit_train_batches` may be a share or a count."""
    batches: int = trainer.datamodule.batches_per_epoch(trainer.world_size)  # type: ignore[attr-defined]
    limit = trainer.limit_train_batches
    batches = min(batches, limit) if isinstance(limit, int) else int(batches * limit)
    return math.ceil(batches / trainer.accumulate_grad_batches)
