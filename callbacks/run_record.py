"""What a run was made of: code, packages, data and parameter counts, in one JSON file.

The resolved configuration is written by the run itself (experiments/run.py).
"""

import json
import os
import platform
import subprocess
from collections.abc import Iterator, Mapping, Sized
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Protocol, runtime_checkable

from lightning import Callback, LightningModule, Trainer
from torch import nn

RECORD_NAME = "run_record.json"
SPLITS = ("train", "val", "test")
PACKAGES = (
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
    "numpy",
    "jsonargparse",
)


@runtime_checkable
class Hashed(Protocol):
    """The manifest of a datamodule, as far as a record needs it."""

    source: str
    sha256: str
    split_sha256: str
    leaks: int

    def rows_of(self, split: str) -> Sized:
        """The rows of a split."""


@runtime_checkable
class RecordingLogger(Protocol):
    """A logger that takes tags and files beside metrics."""

    def log_tags(self, tags: dict[str, str]) -> None:
        """Attach tags to the run."""

    def log_artifact(self, path: Path, folder: str = "") -> None:
        """Attach a file to the run."""

    def log_dataset(self, name: str, digest: str, counts: Mapping[str, int]) -> None:
        """Say which data the run reads."""


class RunRecord(Callback):
    """Writes run_record.json into `trainer.default_root_dir` and tells the tracker of it."""

    def __init__(self) -> None:
        self.path: Path | None = None

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record what is about to be trained."""
        self._record(trainer, pl_module)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record what is tested, where nothing was trained before."""
        if self.path is None:
            self._record(trainer, pl_module)

    def _record(self, trainer: Trainer, module: LightningModule) -> None:
        """Write the file and log tags and file, on the first process."""
        if not trainer.is_global_zero:
            return
        # Lightning types the datamodule as hidden; it is where the manifest lives.
        index = getattr(getattr(trainer, "datamodule", None), "index", None)
        data = manifest_hashes(index)
        code = git_state(Path(__file__).parents[1])
        counts = parameter_counts(module)
        record: dict[str, object] = {
            "model": f"{type(module).__module__}.{type(module).__name__}",
            "git": code,
            "packages": package_versions(),
            "data": data,
            "parameters": counts,
        }
        self.path = write_record(Path(trainer.default_root_dir), record)
        tags = {
            "git_commit": code["commit"] + ("+dirty" if code["dirty"] == "yes" else ""),
            "parameters_trainable": str(counts["total"]["trainable"]),
            "parameters_frozen": str(counts["total"]["frozen"]),
            **data,
        }
        for tracker in trainer.loggers:
            if isinstance(tracker, RecordingLogger):
                tracker.log_tags(tags)
                tracker.log_artifact(self.path)
                if isinstance(index, Hashed):
                    pictures = {split: len(index.rows_of(split)) for split in SPLITS}
                    tracker.log_dataset(index.source, index.sha256, pictures)


def parameter_counts(module: nn.Module) -> dict[str, dict[str, int]]:
    """Trainable and frozen parameters per box of the figure (Table 3), and in `total`.

    A weight that two parts share counts in both and once in the total.
    """
    parts = {name: _count(list(part.parameters())) for name, part in boxes_of(module)}
    parts["own"] = _count(list(module.parameters(recurse=False)))
    counts = {name: count for name, count in parts.items() if any(count.values())}
    return counts | {"total": _count(list(module.parameters()))}


def boxes_of(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The module's parts by name; one that only holds boxes of ours is opened."""
    package = type(module).__module__.split(".")[0]
    for name, part in module.named_children():
        inner = list(part.children())
        holds_boxes = inner and all(type(box).__module__.startswith(package) for box in inner)
        if holds_boxes and not list(part.parameters(recurse=False)):
            yield from boxes_of(part)
        else:
            yield name, part


def manifest_hashes(index: object) -> dict[str, str]:
    """Name and hashes of a manifest and its split; empty for what is none."""
    if not isinstance(index, Hashed):
        return {}
    return {
        "dataset": index.source,
        "manifest_sha256": index.sha256,
        "split_sha256": index.split_sha256,
        "leaks": str(index.leaks),
    }


def git_state(folder: Path) -> dict[str, str]:
    """Commit and `dirty` (yes, no) of the repository; both "unknown" outside of one."""
    commit = _git(folder, "rev-parse", "HEAD")
    status = _git(folder, "status", "--porcelain")
    if commit is None or status is None:
        return {"commit": "unknown", "dirty": "unknown"}
    return {"commit": commit, "dirty": "yes" if status else "no"}


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result; "missing" where absent."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "missing"
    return versions


def write_record(folder: Path, record: dict[str, object]) -> Path:
    """The written file; an older one is replaced whole."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / RECORD_NAME
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    os.replace(temporary, path)
    return path


def _count(weights: list[nn.Parameter]) -> dict[str, int]:
    """Trainable and frozen numbers among the weights."""
    trainable = sum(weight.numel() for weight in weights if weight.requires_grad)
    return {"trainable": trainable, "frozen": sum(w.numel() for w in weights) - trainable}


def _git(folder: Path, *words: str) -> str | None:
    """What git answers, or None where git or the repository is missing."""
    try:
        answer = subprocess.run(
            ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return answer.stdout.strip()
