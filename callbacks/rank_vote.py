"""One question to all processes of a run, answered by a single small reduction."""

from collections.abc import Sequence

import torch
from lightning import Trainer
from torch import Tensor


def any_rank(trainer: Trainer, flags: Sequence[Tensor | bool]) -> list[bool]:
    """For each flag whether it is set on any rank; all ranks must ask at the same place."""
    device = trainer.strategy.root_device
    votes = torch.stack([torch.as_tensor(flag, device=device).float().amax() for flag in flags])
    if trainer.world_size > 1:
        torch.distributed.all_reduce(votes, torch.distributed.ReduceOp.MAX)
    return [vote > 0 for vote in votes.tolist()]
