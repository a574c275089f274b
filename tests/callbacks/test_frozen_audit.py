"""Claims about the proof that frozen parameters stay."""

from pathlib import Path

import pytest
import torch

from callbacks.frozen_audit import FrozenAudit, checksum
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
    with pytest.raises(RuntimeError, match=r"1 of 2 frozen parameters moved.*backbone\.bias"):
        trainer.fit(LeakyModule(), toy_loader())


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
