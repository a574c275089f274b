"""Proof that what is frozen stays as it was: a checksum before and after training (Table 3)."""

import logging
import zlib

import torch
from lightning import Callback, LightningModule, Trainer
from torch import Tensor, nn

logger = logging.getLogger(__name__)

NAMED_TENSORS = 3


class FrozenAudit(Callback):
    """Stops a run whose frozen parts moved.

    Raises RuntimeError at the end of training when a parameter that was frozen at its start, or a
    buffer of a part without any other, differs in any bit.
    """

    def __init__(self) -> None:
        self.checksums: dict[str, int] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record what is frozen, after every part has loaded its weights."""
        self.checksums = {name: checksum(value) for name, value in frozen_state(pl_module).items()}

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Compare with the record."""
        state = frozen_state(pl_module)
        moved = [
            name
            for name, before in self.checksums.items()
            if name not in state or checksum(state[name]) != before
        ]
        if moved:
            raise RuntimeError(
                f"{len(moved)} of {len(self.checksums)} frozen tensors moved in training, "
                f"first {', '.join(moved[:NAMED_TENSORS])}: expected none; keep them out of the "
                "optimizer, out of in-place updates and out of training mode"
            )
        if trainer.is_global_zero:
            logger.info("frozen tensors: all %d as they were", len(self.checksums))


def frozen_state(module: nn.Module) -> dict[str, Tensor]:
    """Frozen parameters by name, and the buffers of modules that hold no other parameters.

    A batch norm's statistics are such buffers: they move although no optimizer knows them.
    """
    state: dict[str, Tensor] = {
        name: weight for name, weight in module.named_parameters() if not weight.requires_grad
    }
    for prefix, child in module.named_modules():
        weights = list(child.parameters())
        if weights and not any(weight.requires_grad for weight in weights):
            state |= {f"{prefix}.{name}".strip("."): value for name, value in child.named_buffers()}
    return state


def checksum(tensor: Tensor) -> int:
    """CRC-32 of the tensor's bytes, which sees any changed bit of any dtype."""
    raw = tensor.detach().contiguous().reshape(-1).view(torch.uint8)
    return zlib.crc32(raw.cpu().numpy().tobytes())
