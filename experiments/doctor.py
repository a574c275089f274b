"""`python -m experiments.doctor`: what this machine has, what is missing, and how to get it."""

import argparse
import importlib
import os
import platform
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil
from jsonargparse import ArgumentParser
from rich.console import Console

from experiments.command import run_command
from experiments.tables import Table, to_rich

OLDEST_PYTHON = (3, 11)
COMPROMISED = {"lightning": ("2.6.2", "2.6.3"), "pytorch-lightning": ("2.6.2", "2.6.3")}
CORE_PACKAGES = (
    "torch",
    "torchvision",
    "lightning",
    "diffusers",
    "transformers",
    "timm",
    "torchmetrics",
    "mlflow",
    "albumentations",
    "segmentation-models-pytorch",
    "jsonargparse",
    "rich",
    "pyarrow",
    "pycocotools",
    "scipy",
    "opencv-python-headless",
)
INSTALL = "pip install -r requirements.lock"
GIBIBYTE = 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    """One examined part: what was found, and the remedy where it is not as it should be.

    A core part without which nothing runs makes the command fail; others are told only.
    """

    part: str
    found: str
    remedy: str = ""
    core: bool = True

    @property
    def verdict(self) -> str:
        """Its word in the table."""
        if not self.remedy:
            return "ok"
        return "MISSING" if self.core else "optional"


def build_parser() -> ArgumentParser:
    """The command's arguments."""
    parser = ArgumentParser(prog="python -m experiments.doctor", description=__doc__)
    parser.add_argument("--data", type=str, default="", help="folder of the raw data sets")
    parser.add_argument("--weights", type=str, default="", help="folder of local weights")
    parser.add_argument("--output", type=str, default="mlruns", help="folder of the runs")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Print the findings; 2 when a core part is missing, else 0."""
    arguments = build_parser().parse_args(argv)
    findings = examine(arguments)
    rows = tuple((f.part, f.verdict, f.found, f.remedy) for f in findings)
    table = Table("DiffuseDefect on this machine", ("part", "verdict", "found", "remedy"), rows)
    Console().print(to_rich(table))
    missing = [finding for finding in findings if finding.core and finding.remedy]
    for finding in missing:
        print(f"error: {finding.part}: got {finding.found}: {finding.remedy}", file=sys.stderr)
    return 2 if missing else 0


def examine(arguments: argparse.Namespace) -> list[Finding]:
    """All findings, core parts first."""
    return [
        examine_python(),
        *(examine_package(name) for name in CORE_PACKAGES),
        examine_torch_family(),
        examine_tracking(Path(arguments.output)),
        *examine_machine(),
        examine_folder("data", arguments.data, "DIFFUSE_DEFECT_DATA"),
        examine_folder("weights", arguments.weights, "DIFFUSE_DEFECT_WEIGHTS"),
    ]


def examine_python() -> Finding:
    """Python's version against the oldest that we support."""
    if sys.version_info[:2] >= OLDEST_PYTHON:
        return Finding("python", platform.python_version())
    return Finding("python", platform.python_version(), "install Python 3.11 or newer")


def examine_package(name: str) -> Finding:
    """The package's version; flagged when absent or a compromised release."""
    try:
        found = version(name)
    except PackageNotFoundError:
        return Finding(name, "not installed", INSTALL)
    if found in COMPROMISED.get(name, ()):
        return Finding(
            name,
            f"{found}, a compromised release",
            f"uninstall it, change every password and token of this machine, then {INSTALL}",
        )
    return Finding(name, found)


def examine_torch_family() -> Finding:
    """Whether torch and torchvision are of one build: only then do torchvision's operators load."""
    part = "torch + torchvision"
    try:
        importlib.import_module("torchvision.ops")
    except (ImportError, RuntimeError, OSError) as error:
        reason = " ".join(str(error).split())[:120]
        return Finding(
            part,
            f"do not load together ({reason})",
            f"install both from one build family (both CPU or both CUDA): {INSTALL}",
        )
    return Finding(part, "load together")


def examine_tracking(output: Path) -> Finding:
    """Whether the tracking database can be written, without making one."""
    part = "tracking"
    server = os.environ.get("MLFLOW_TRACKING_URI")
    if server:
        return Finding(part, f"server {server} (MLFLOW_TRACKING_URI)")
    database = output / "mlflow.db"
    place = database if database.exists() else _nearest_existing(output)
    if not os.access(place, os.W_OK):
        return Finding(
            part, f"{place} is not writable", f"make it writable, or use --output: {output}"
        )
    if not database.exists():
        return Finding(part, f"{database} will be made by the first run")
    # Imported here: MLflow takes seconds, and the other findings must not wait for it.
    from experiments.tracking import experiment_names

    try:
        names = experiment_names(output)
    except (ValueError, OSError) as error:
        return Finding(part, f"{database} cannot be read", str(error))
    return Finding(part, f"{database}, {len(names)} experiments")


def examine_machine() -> list[Finding]:
    """Cores, memory and accelerators: told, never required."""
    memory = psutil.virtual_memory()
    findings = [
        Finding("cores", f"{_usable_cores()} usable", core=False),
        Finding(
            "memory",
            f"{memory.total / GIBIBYTE:.1f} GiB, {memory.available / GIBIBYTE:.1f} GiB free",
            "" if memory.available > 2 * GIBIBYTE else "close programs: tiny runs take about 2 GiB",
            core=False,
        ),
    ]
    return [*findings, *_accelerators()]


def examine_folder(part: str, folder: str, variable: str) -> Finding:
    """What lies in a folder of data or weights, named by the argument or by the variable."""
    named = folder or os.environ.get(variable, "")
    if not named:
        return Finding(
            part, "no folder named", f"optional: --{part} FOLDER or {variable}", core=False
        )
    path = Path(named)
    if not path.is_dir():
        # Who names a folder counts on it: then it is no option any more.
        return Finding(part, f"{named} is missing", f"mount it, or correct --{part} or {variable}")
    names = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    return Finding(part, f"{named}: {', '.join(names) or 'no folders in it'}", core=False)


def _usable_cores() -> int:
    """Cores that this process may run on, which a container can limit."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _accelerators() -> list[Finding]:
    """One finding per CUDA device, or one that says there is none."""
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError):
        return []
    if not torch.cuda.is_available():
        remedy = "optional: tiny configurations run on the CPU"
        return [Finding("gpu", "none", remedy, core=False)]
    devices = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return [
        Finding(f"gpu {i}", f"{d.name}, {d.total_memory / GIBIBYTE:.0f} GiB", core=False)
        for i, d in enumerate(devices)
    ]


def _nearest_existing(path: Path) -> Path:
    """The path itself or the nearest folder above it that exists."""
    path = path.resolve()
    while not path.exists():
        path = path.parent
    return path


if __name__ == "__main__":
    run_command(main)
