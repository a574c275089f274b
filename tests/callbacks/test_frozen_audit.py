"""Claims about the proof that frozen parameters stay."""

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from callbacks.frozen_audit import FrozenAudit, checksum, describe_parts
from datamodules.sample import Batch
from tests.callbacks.toy_training import ToyModule, toy_loader, toy_trainer


def test_training_that_leaves_frozen_weights_alone_passes(tmp_path: Path) -> None:
    audit = FrozenAudit()
    toy_trainer(tmp_path, [audit]).fit(ToyModule(), toy_loader())
    assert set(audit.checksums) == {"backbone.weight", "backbone.bias"}


def test_frozen_weight_that_moves_stops_the_run(tmp_path: Path) -> None:
    class LeakyModule(ToyModule):
        def on_train_batch_end(self, *rest: object) -> None:
            self.backbone.bias.data[1] += 1e-6

    trainer = toy_trainer(tmp_path, [FrozenAudit()])
    with pytest.raises(RuntimeError, match=r"1 of 2 frozen tensors moved.*backbone\.bias"):
        trainer.fit(LeakyModule(), toy_loader())


def test_statistics_of_a_frozen_norm_that_move_stop_the_run(tmp_path: Path) -> None:
    class NormedModule(ToyModule):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(3).requires_grad_(False)

        def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
            self.norm(batch.image)
            return super().training_step(batch, batch_idx)

    trainer = toy_trainer(tmp_path, [FrozenAudit()])
    with pytest.raises(RuntimeError, match=r"norm\.running_mean.*training mode"):
        trainer.fit(NormedModule(), toy_loader())


def test_parts_are_counted_apart() -> None:
    assert describe_parts(ToyModule()) == [
        "trainable parameters: 4 (head 4)",
        "frozen parameters: 12 (backbone 12)",
    ]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_checksum_sees_one_changed_number(dtype: torch.dtype) -> None:
    tensor = torch.ones(5, 3, dtype=dtype)
    before = checksum(tensor)
    tensor[4, 2] = 2
    assert checksum(tensor) != before


def test_checksum_does_not_depend_on_memory_layout() -> None:
    tensor = torch.rand(4, 3)
    assert checksum(tensor.t().contiguous().t()) == checksum(tensor)


def test_scalar_and_empty_tensors_have_checksums() -> None:
    assert checksum(torch.tensor(1.0)) != checksum(torch.empty(0))
