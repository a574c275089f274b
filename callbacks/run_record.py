"""What a run was made of: code, packages, data and parameter counts, in one JSON file.

The resolved configuration is written by the run itself.
"""

import json
import logging
import platform
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.utilities import rank_zero_only
from torch import nn

from datamodules.whole_files import write_whole

logger = logging.getLogger(__name__)

RECORD_NAME = "run_record.json"
SPLITS = ("train", "val", "test")
PACKAGES = (
    *("torch", "torchvision", "lightning", "diffusers", "transformers", "timm", "torchmetrics"),
    *("mlflow", "albumentations", "segmentation-models-pytorch", "numpy", "jsonargparse"),
)


@runtime_checkable
class RecordingLogger(Protocol):
    """A logger that takes tags and data beside metrics."""

    def log_tags(self, tags: Mapping[str, str]) -> None:
        """Attach tags to the run."""

    def log_dataset(self, name: str, digest: str, counts: Mapping[str, int]) -> None:
        """Note which data the run reads, and images by split."""


class RunRecord(Callback):
    """Writes run_record.json into `trainer.default_root_dir` and tags the tracked run."""

    def __init__(self) -> None:
        self.path: Path | None = None

    @rank_zero_only
    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the file, and log tags and data."""
        # Lightning types the datamodule as hidden; its index is the manifest.
        index: Any = getattr(getattr(trainer, "datamodule", None), "index", None)
        data: dict[str, str] = {}
        if index is not None:
            hashes = {"manifest_sha256": index.sha256, "split_sha256": index.split_sha256}
            data = {"dataset": index.source, **hashes, "leaks": str(index.leaks)}
        code = git_state(Path(__file__).parents[1])
        counts = parameter_counts(pl_module)
        record = {
            "model": f"{type(pl_module).__module__}.{type(pl_module).__name__}",
            "git": code,
            "packages": package_versions(),
            "data": data,
            "parameters": counts,
        }
        self.path = Path(trainer.default_root_dir) / RECORD_NAME
        write_whole(self.path, json.dumps(record, indent=2) + "\n")
        tags = {"git_commit": code["commit"] + ("+dirty" if code["dirty"] == "yes" else ""), **data}
        for kind in ("trainable", "frozen"):
            tags[f"parameters_{kind}"] = str(counts["total"][kind])
            parts = [f"{name} {one[kind]:,}" for name, one in counts.items() if one[kind]]
            logger.info("%s parameters: %s", kind, ", ".join(parts) or "none")
        for tracker in trainer.loggers:
            if isinstance(tracker, RecordingLogger):
                tracker.log_tags(tags)
                if index is not None:
                    images = {split: len(index.rows_of(split)) for split in SPLITS}
                    tracker.log_dataset(index.source, index.sha256, images)

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Record what is tested, where nothing was trained before."""
        if self.path is None:
            self.on_fit_start(trainer, pl_module)


def parameter_counts(module: nn.Module) -> dict[str, dict[str, int]]:
    """Trainable and frozen parameters per box of the figure (Table 3), and in `total`.

    A weight that two parts share counts in both and once in the total.
    """
    parts = {name: list(part.parameters()) for name, part in _boxes_of(module)}
    parts["own"] = list(module.parameters(recurse=False))
    parts = {name: weights for name, weights in parts.items() if weights}
    parts["total"] = list(module.parameters())
    return {
        name: {
            "trainable": sum(weight.numel() for weight in weights if weight.requires_grad),
            "frozen": sum(weight.numel() for weight in weights if not weight.requires_grad),
        }
        for name, weights in parts.items()
    }


def _boxes_of(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The module's parts by name; one that only holds boxes of ours is opened."""
    package = type(module).__module__.split(".")[0]
    for name, part in module.named_children():
        inner = list(part.children())
        holds_boxes = inner and all(type(box).__module__.startswith(package) for box in inner)
        if holds_boxes and not list(part.parameters(recurse=False)):
            yield from _boxes_of(part)
        else:
            yield name, part


def git_state(folder: Path) -> dict[str, str]:
    """Commit and `dirty` (yes, no) of the repository; both "unknown" outside of one."""
    try:
        commit, status = (
            subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return {"commit": "unknown", "dirty": "unknown"}
    return {"commit": commit, "dirty": "yes" if status else "no"}


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that decide a result; "missing" where absent."""
    installed = {package.name: package.version for package in distributions()}
    found = {name: installed.get(name, "missing") for name in PACKAGES}
    return {"python": platform.python_version(), **found}
