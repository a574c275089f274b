"""Claims about what ranks do together: leave a step out, and stop after the same one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from callbacks.checkpoint import any_rank
from tests.callbacks.saved_training import trainer_of

REPOSITORY = Path(__file__).parents[2]
# Rank 1 alone gets a nan in its second batch and a signal in its third.
TRAINING = """
import os, signal, sys, torch
from dataclasses import dataclass
from lightning import LightningModule, Trainer
from torch.utils.data import DataLoader
from callbacks.finite_guard import FiniteGuard
from callbacks.checkpoint import SafeCheckpoint
from callbacks.checkpoint import RunStopped, StopSignal
RANK = os.environ["RANK"]
@dataclass
class Batch:
    image: torch.Tensor
    row: torch.Tensor
class Module(LightningModule):
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(2, 1)
    def training_step(self, batch, batch_idx):
        if RANK == "1" and batch_idx == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        factor = float("nan") if RANK == "1" and batch_idx == 1 else 1.0
        return self.head(batch.image * factor).mean()
    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=0.1)
torch.manual_seed(0)
batches = DataLoader([Batch(torch.ones(1, 2), torch.tensor([7]))] * 12, batch_size=None)
guard = FiniteGuard()
trainer = Trainer(accelerator="cpu", devices=2, strategy="ddp", max_epochs=1, logger=False,
    callbacks=[guard, StopSignal(), SafeCheckpoint()], default_root_dir=sys.argv[1],
    enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False)
module = Module()
try:
    trainer.fit(module, batches)
except RunStopped:
    finite = bool(torch.isfinite(module.head.weight).all())
    said = f"rank {RANK}: step {trainer.global_step} skipped {guard.skipped} {finite}\\n"
    os.write(1, said.encode())  # at once: print would mix the ranks' lines
"""


def test_single_process_answers_for_itself(tmp_path: Path) -> None:
    assert any_rank(trainer_of(tmp_path, []), [True, False]) == [True, False]


@pytest.mark.slow
def test_fault_and_signal_of_one_rank_are_everybodys(tmp_path: Path) -> None:
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    ended = subprocess.run(
        [sys.executable, *launcher, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
    )
    assert ended.returncode == 0, ended.stderr
    said = {line for line in ended.stdout.splitlines() if line.startswith("rank ")}
    assert said == {f"rank {rank}: step 3 skipped 1 True" for rank in (0, 1)}
    assert (tmp_path / "checkpoints" / "step_00000003.ckpt").is_file()
