"""Holds that no command runs what a checkpoint's pickle asks for: one line, exit code 2."""

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from experiments.calibrate import calibrate
from experiments.export import export
from experiments.generate import generate
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


def write_trap(kind: str, trap: Shell, file: Path) -> None:
    if kind == "in a stage":
        torch.save({STAMP: stamp("constant", ENTRIES), "state_dict": {}, "loops": trap}, file)
    elif kind == "as a stage":
        torch.save(trap, file)
    elif kind == "bare pickle":
        file.write_bytes(pickle.dumps(trap))
    else:
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps(trap, protocol=2))
            archive.writestr("archive/version", "3")


@pytest.mark.parametrize("kind", ["in a stage", "as a stage", "bare pickle", "in an archive"])
def test_no_command_springs_a_trap(kind: str, directory: Path, tmp_path: Path) -> None:
    trace, out = tmp_path / "trace", tmp_path / "out"
    write_trap(kind, Shell(trace), directory / "checkpoints" / "last.ckpt")
    Image.new("L", (8, 8)).save(tmp_path / "part.png")
    data = {"root": tmp_path / "data", "source": "synthetic", "source.image_count": 24}
    data |= {"data.init_args.manifest_folder": tmp_path / "manifests", "output": tmp_path}
    settings = [f"--{key}={value}" for key, value in data.items()]
    given = ("--checkpoint", directory, "--out")
    lines = [
        refused(predict, *given, out, "--images", tmp_path / "part.png"),
        refused(export, *given, out),
        refused(generate, *given, out, "--prompt", "a crack"),
        refused(calibrate, *given, tmp_path / "thresholds.json"),
        refused(run, "--config=baselines/constant.yaml", "--weights", directory, *settings),
    ]
    assert all("last.ckpt cannot be read" in line for line in lines)
    assert not trace.exists() and not out.exists()


def test_trap_goes_off_where_it_is_trusted(tmp_path: Path) -> None:
    torch.save(Shell(tmp_path / "trace"), tmp_path / "trap.ckpt")
    torch.load(tmp_path / "trap.ckpt", weights_only=False)
    assert (tmp_path / "trace").exists()
