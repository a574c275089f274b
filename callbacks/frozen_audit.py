"""Proof that what is frozen stays as it was: a checksum before and after training."""

import logging
import zlib

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor

logger = logging.getLogger(__name__)

NAMED_PARAMETERS = 3


class FrozenAudit(Callback):
    """Stops a run whose frozen parameters moved.

    Raises RuntimeError at the end of training when a parameter that was frozen at its start
    differs in any bit.
    """

    def __init__(self) -> None:
        self.checksums: dict[str, int] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record the frozen parameters, after every part has loaded its weights."""
        frozen = {
            name: weight
            for name, weight in pl_module.named_parameters()
            if not weight.requires_grad
        }
        self.checksums = {name: checksum(weight) for name, weight in frozen.items()}
        frozen_count = sum(weight.numel() for weight in frozen.values())
        trainable_count = sum(
            weight.numel() for weight in pl_module.parameters() if weight.requires_grad
        )
        if trainer.is_global_zero:
            logger.info("parameters: %d trainable, %d frozen", trainable_count, frozen_count)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare with the record."""
        weights = dict(pl_module.named_parameters())
        moved = [
            name
            for name, before in self.checksums.items()
            if name not in weights or checksum(weights[name]) != before
        ]
        if moved:
            raise RuntimeError(
                f"{len(moved)} of {len(self.checksums)} frozen parameters moved in training, "
                f"first {', '.join(moved[:NAMED_PARAMETERS])}: expected none; "
                "keep them out of the optimizer and out of in-place updates"
            )
        if trainer.is_global_zero:
            logger.info("frozen parameters: all %d as they were", len(self.checksums))


def checksum(tensor: Tensor) -> int:
    """CRC-32 of the tensor's bytes, which sees any changed bit of any dtype."""
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return zlib.crc32(raw.cpu().numpy().tobytes())
