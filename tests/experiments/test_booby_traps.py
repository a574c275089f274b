"""Holds that no command runs what a checkpoint's pickle asks for: one line, exit code 2."""

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments.checkpoints import load_pretrain
from experiments.export import export
from experiments.predict import predict
from experiments.run import run
from lightning_modules.weights_io import STAMP, stamp
from tests.experiments.refused import refused
from tests.experiments.small_stages import ENTRIES, write_run


class Shell:
    """Runs a shell command where it is unpickled."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a constant baseline."""
    folder = tmp_path_factory.mktemp("traps")
    return write_run(folder / "run", "baselines/constant.yaml", {})


@pytest.fixture(params=["in a stage", "as a stage", "bare pickle", "pickle in an archive"])
def trace(request: pytest.FixtureRequest, directory: Path, tmp_path: Path) -> Path:
    """The file that would appear if the trap in the run's checkpoint went off."""
    trace, file = tmp_path / "trace", directory / "checkpoints" / "last.ckpt"
    trap = Shell(trace)
    if request.param == "in a stage":
        torch.save({STAMP: stamp("constant", ENTRIES), "state_dict": {}, "loops": trap}, file)
    elif request.param == "as a stage":
        torch.save(trap, file)
    elif request.param == "bare pickle":
        file.write_bytes(pickle.dumps(trap))
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(trap, protocol=2))
            archive.writestr("archive/version", "3")
    return trace


def test_predict_springs_no_trap(directory: Path, trace: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(tmp_path / "part.png")
    words = ("--checkpoint", directory, "--images", tmp_path / "part.png")
    line = refused(predict, *words, "--out", tmp_path / "out")
    assert "last.ckpt cannot be read" in line and not trace.exists()


def test_export_springs_no_trap(directory: Path, trace: Path, tmp_path: Path) -> None:
    line = refused(export, "--checkpoint", directory, "--out", tmp_path / "out")
    assert "last.ckpt cannot be read" in line and not trace.exists()
    assert not (tmp_path / "out").exists()


def test_generation_springs_no_trap(directory: Path, trace: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read"):
        load_pretrain(directory)
    assert not trace.exists()


def test_test_of_given_weights_springs_no_trap(
    directory: Path, trace: Path, tmp_path: Path
) -> None:
    words = ["--config", "baselines/constant.yaml", "--weights", directory]
    settings = {"output": tmp_path, "root": tmp_path / "data", "source": "synthetic"}
    settings |= {"source.image_count": 24, "source.image_size_px": 72}
    settings |= {"data.init_args.manifest_folder": tmp_path / "manifests"}
    line = refused(run, *words, *(f"--{key}={value}" for key, value in settings.items()))
    assert "last.ckpt cannot be read" in line and not trace.exists()


def test_trap_goes_off_where_it_is_trusted(tmp_path: Path) -> None:
    torch.save(Shell(tmp_path / "trace"), tmp_path / "trap.ckpt")
    torch.load(tmp_path / "trap.ckpt", weights_only=False)
    assert (tmp_path / "trace").exists()
