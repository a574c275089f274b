"""`python -m experiments.doctor`: what this machine has, what is missing, and how to get it."""

import os
import platform
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from datamodules.shared_memory import REMEDY, free_bytes
from experiments.cli import run_command
from lightning_modules.known_weights import KNOWN_WEIGHTS, cache_folder, is_fetched

COMPROMISED = {("lightning", "2.6.2"), ("lightning", "2.6.3")}
DATA_VARIABLE = "DIFFUSE_DEFECT_DATA"
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


def doctor(*, data: str = "", output: Path = Path("mlruns")) -> int:
    """Tell what this machine has, what is missing, and how to get it; 2 where a core part is.

    Args:
        data: folder of the raw data sets
        output: folder of the runs
    """
    from experiments.tables import Table, print_table

    findings = [
        examine_python(),
        *examine_packages(),
        examine_torch_family(),
        examine_tracking(output),
        *examine_machine(),
        examine_data(data),
        *examine_weights(),
    ]
    rows = tuple((f.part, f.verdict, f.found, f.remedy) for f in findings)
    columns = ("part", "verdict", "found", "remedy")
    print_table(Table("DiffuseDefect on this machine", columns, rows))
    missing = [finding for finding in findings if finding.verdict == "MISSING"]
    for finding in missing:
        print(f"error: {finding.part}: got {finding.found}: {finding.remedy}", file=sys.stderr)
    return 2 if missing else 0


def examine_python() -> Finding:
    """Python's version against the oldest that we support."""
    remedy = "" if sys.version_info >= (3, 11) else "install Python 3.11 or newer"
    return Finding("python", platform.python_version(), remedy)


def examine_packages() -> list[Finding]:
    """What pyproject.toml asks for; flagged when absent, too old or a compromised release."""
    from lightning_utilities.core.imports import RequirementCache

    findings = []
    for requirement in requires("diffuse-defect") or []:
        name = re.split(r"[^\w-]", requirement)[0]
        if "extra ==" in requirement:
            continue
        try:
            found = version(name)
        except PackageNotFoundError:
            found = "not installed"
        remedy = "" if RequirementCache(requirement) else INSTALL
        if (name, found) in COMPROMISED:
            found += ", a compromised release"
            remedy = f"uninstall it, change all passwords and tokens of this machine, {INSTALL}"
        findings.append(Finding(name, found, remedy))
    return findings


def examine_torch_family() -> Finding:
    """Whether torch and torchvision are of one build: only then do torchvision's operators load."""
    try:
        import torchvision.ops  # noqa: F401
    except (ImportError, RuntimeError, OSError) as error:
        found = f"do not load together ({' '.join(str(error).split())[:120]})"
        remedy = f"install both from one build family (both CPU or both CUDA): {INSTALL}"
        return Finding("torch + torchvision", found, remedy)
    return Finding("torch + torchvision", "load together")


def examine_tracking(output: Path) -> Finding:
    """Whether the tracking database can be written, without making one."""
    part, server = "tracking", os.environ.get("MLFLOW_TRACKING_URI")
    if server:
        return Finding(part, f"server {server} (MLFLOW_TRACKING_URI)")
    database = output / "mlflow.db"
    place = next(one for one in (database, *database.absolute().parents) if one.exists())
    if not os.access(place, os.W_OK):
        return Finding(part, f"{place} is not writable", "make it writable, or use --output")
    if not database.exists():
        return Finding(part, f"{database} will be made by the first run")
    from experiments.tracking import experiment_names

    try:
        names = experiment_names(output)
    except (ValueError, OSError) as error:
        return Finding(part, f"{database} cannot be read", str(error))
    return Finding(part, f"{database}, {len(names)} experiments")


def examine_machine() -> list[Finding]:
    """Cores, memory and GPUs: told, never required."""
    import psutil

    memory = psutil.virtual_memory()
    sizes = f"{memory.total / GIBIBYTE:.1f} GiB, {memory.available / GIBIBYTE:.1f} GiB free"
    has_room = memory.available > 2 * GIBIBYTE
    shared = free_bytes() / GIBIBYTE
    advice = "" if has_room else "close programs: tiny runs take about 2 GiB"
    findings = [
        Finding("cores", f"{os.cpu_count()}", core=False),
        Finding("memory", sizes, advice, core=False),
        Finding("shared memory", f"{shared:.4g} GiB free", REMEDY * (shared < 1), core=False),
    ]
    try:
        import torch
    except (ImportError, OSError):
        return findings
    cards = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    if not cards:
        remedy = "optional: tiny configurations run on the CPU"
        return [*findings, Finding("gpu", "none", remedy, core=False)]
    return findings + [
        Finding(f"gpu {i}", f"{card.name}, {card.total_memory / GIBIBYTE:.0f} GiB", core=False)
        for i, card in enumerate(cards)
    ]


def examine_data(folder: str) -> Finding:
    """What lies in a folder of data, named by the argument or by DIFFUSE_DEFECT_DATA."""
    named = folder or os.environ.get(DATA_VARIABLE, "")
    if not named:
        return Finding(
            "data", "no folder named", f"optional: --data FOLDER or {DATA_VARIABLE}", core=False
        )
    path = Path(named)
    if not path.is_dir():
        # Who names a folder counts on it: then it is no option any more.
        return Finding(
            "data", f"{named} is missing", f"mount it, or correct --data or {DATA_VARIABLE}"
        )
    names = sorted(entry.name for entry in path.iterdir() if entry.is_dir())
    return Finding("data", f"{named}: {', '.join(names) or 'no folders in it'}", core=False)


def examine_weights() -> list[Finding]:
    """Which of the weights that configurations name lie in the cache folder."""
    folder, get = cache_folder(), "python -m experiments.fetch --weights"
    return [
        Finding(f"weights {name}", f"in {folder / name}", core=False)
        if is_fetched(name)
        else Finding(f"weights {name}", "not fetched", f"optional: {get} {name}", core=False)
        for name in KNOWN_WEIGHTS
    ]


if __name__ == "__main__":
    run_command(doctor)
