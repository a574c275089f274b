"""Claims about stage 2 under DDP: two processes train the weights that one would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lightning_modules.supervision import SUPERVISIONS
from tests.lightning_modules.shared_finetune import train
from tests.lightning_modules.shared_training import write_data

ROOT = Path(__file__).parents[2]
WORKER = Path(__file__).with_name("shared_finetune.py")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where one process has trained alone, and then two together."""
    folder = tmp_path_factory.mktemp("shared_finetune")
    write_data(folder)
    for kind in SUPERVISIONS:
        train(folder, "one", kind, batch_size=8, strategy="auto")
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*launch, str(WORKER), str(folder)], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def weights_of(folder: Path, name: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights before and after a training."""
    before, after = torch.load(folder / f"{name}.pt", weights_only=True)
    return before, after


def distance(one: dict[str, Tensor], two: dict[str, Tensor]) -> float:
    """The Euclidean distance between all weights of the same names."""
    assert one.keys() == two.keys()
    return sum(float((one[name] - two[name]).double().square().sum()) for name in one) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("supervision", SUPERVISIONS)
def test_two_processes_train_the_weights_that_one_trains(trained: Path, supervision: str) -> None:
    before, one = weights_of(trained, f"one_{supervision}")
    _, two = weights_of(trained, f"two_{supervision}")
    assert distance(one, two) < 1e-4 * distance(before, one)
