"""Fixtures of all tests: the real data and weights where they are, and a fixed seed."""

import os
import signal
from pathlib import Path

# Before torch, which reads how OpenMP waits when it is imported: this package sets it.
import experiments  # noqa: F401

# isort: split
import pytest
import torch
from lightning import seed_everything

REPOSITORY = Path(__file__).parents[1]

# Threads of many small tests on few cores fight each other.
torch.set_num_threads(min(2, torch.get_num_threads()))

# What begins in the background or by nohup ignores these, and so would what is tested.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
signal.signal(signal.SIGINT, signal.default_int_handler)


def shared_folder(variable: str, name: str) -> Path:
    """The folder that the variable names, else ../shared/<name>; skips where it is missing."""
    folder = Path(os.environ.get(variable) or REPOSITORY.parent / "shared" / name)
    if not folder.is_dir():
        pytest.skip(f"no {name} here: set {variable} to the folder that holds it")
    return folder


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of the real data sets; skips where it is missing."""
    return shared_folder("DIFFUSE_DEFECT_DATA", "data")


@pytest.fixture(scope="session")
def shared_weights() -> Path:
    """The folder of downloaded weights; skips where it is missing."""
    return shared_folder("DIFFUSE_DEFECT_WEIGHTS", "weights")


@pytest.fixture
def seed() -> int:
    """The seed 0, set for Python, NumPy and torch."""
    return seed_everything(0, verbose=False)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip tests marked `gpu` where there is none."""
    if item.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
