"""Claims about the proof that frozen parameters stay."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from callbacks.frozen_audit import FrozenAudit, checksum
from datamodules.sample import Batch
from tests.callbacks.toy_training import ToyModule, toy_loader, toy_trainer


def test_training_that_leaves_frozen_weights_alone_passes(tmp_path: Path) -> None:
    audit = FrozenAudit()
    toy_trainer(tmp_path, [audit]).fit(ToyModule(), toy_loader())
    assert set(audit.checksums) == {"backbone.weight", "backbone.bias"}


class Leaky(ToyModule):
    """Changes a frozen weight by hand."""

    def on_train_batch_end(self, *rest: object) -> None:
        self.backbone.bias.data[1] += 1e-6


class Normed(ToyModule):
    """Leaves a frozen norm in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(3).requires_grad_(False)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        self.norm(batch.image)
        return super().training_step(batch, batch_idx)


@pytest.mark.parametrize(
    ("kind", "claim"),
    [
        (Leaky, r"1 of 2 frozen tensors moved.*backbone\.bias"),
        (Normed, r"norm\.running_mean.*training mode"),
    ],
)
def test_frozen_tensor_that_moves_stops_the_run(
    kind: type[ToyModule], claim: str, tmp_path: Path
) -> None:
    with pytest.raises(RuntimeError, match=claim):
        toy_trainer(tmp_path, [FrozenAudit()]).fit(kind(), toy_loader())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_checksum_sees_one_changed_number(dtype: torch.dtype) -> None:
    tensor = torch.ones(5, 3, dtype=dtype)
    before = checksum(tensor)
    tensor[4, 2] = 2
    assert checksum(tensor) != before


def test_checksum_knows_no_memory_layout_and_takes_any_shape() -> None:
    tensor = torch.rand(4, 3)
    assert checksum(tensor.t().contiguous().t()) == checksum(tensor)
    assert checksum(torch.tensor(1.0)) != checksum(torch.empty(0))
