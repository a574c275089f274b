"""A trained stage from its run or release: config.yaml builds it, the checkpoint fills it.

Its thresholds lie beside them in thresholds.json: at which scores it speaks up, and why at these.
"""

import importlib.util
import json
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import torch
from jsonargparse import Namespace
from lightning import LightningDataModule, LightningModule
from torch import nn

from datamodules.imdd import IMDDDataModule
from datamodules.vocabulary import normalise_name
from datamodules.whole_files import whole, write_whole
from experiments.config import build_stage, parse_stage, read_layer, stage_parser
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.metrics.calibration import Calibration
from lightning_modules.nets.post_processing import (
    VERSION,
    OperatingPoints,
    parse_operating_points,
)
from lightning_modules.segmentation_module import SegmentationModule
from lightning_modules.weights_io import (
    RELEASE_NAME,
    SavedStage,
    find_checkpoint,
    first_line,
    read_stage,
)

CONFIG_NAME = "config.yaml"
THRESHOLDS_NAME = "thresholds.json"
MANIFEST_NAME = "manifest.parquet"
GALLERY = "gallery"  # a folder beside them: examples of names
PRETRAINED_KEY = "pretrained"
# How a release names weights in a folder of its own, wherever it lies.
INSIDE = "./"
OWN_PACKAGES = ("datamodules.", "lightning_modules.")
Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Restored:
    """A stage as its directory tells it: net, data settings, what was saved, and the raw config.

    directory: the run's or the release's, with config.yaml in it.
    """

    model: LightningModule
    data: LightningDataModule
    saved: SavedStage
    raw: dict[str, object]
    directory: Path


def load_any(checkpoint: Path) -> Restored:
    """Whatever stage a run, checkpoint file or release holds, filled, in evaluation mode.

    Its weights are then in the model alone: at paper scale a second copy takes 4 GB. Raises
    FileNotFoundError or ValueError, one line, where the checkpoint or its config.yaml is missing,
    damaged or not ours.
    """
    restored = _read(checkpoint)
    model, file = restored.model, restored.saved.file
    if not isinstance(model, DiffusionPretrain | SegmentationModule):
        raise ValueError(
            f"checkpoint {file} holds {type(model).__name__}: expected a stage 1, a stage 2 or a "
            "baseline"
        )
    model.restore(restored.saved)
    restored.saved.state.clear()
    thresholds = restored.directory / THRESHOLDS_NAME
    if isinstance(model, SegmentationModule) and thresholds.is_file():
        model.post_processing.calibrate(read_thresholds(thresholds))
    model.eval()
    return restored


def load_pretrain(checkpoint: Path) -> DiffusionPretrain:
    """Stage 1 with its averaged weights, as `load_any` loads it; ValueError for another stage."""
    restored = load_any(checkpoint)
    if not isinstance(restored.model, DiffusionPretrain):
        raise ValueError(
            f"checkpoint {restored.saved.file} holds {type(restored.model).__name__}, which cannot "
            "draw images: expected the run directory of a stage 1"
        )
    return restored.model


def load_stage(checkpoint: Path) -> SegmentationModule:
    """A stage 2 or a baseline, as `load_any` loads it; ValueError for what finds no masks."""
    restored = load_any(checkpoint)
    if not isinstance(restored.model, SegmentationModule):
        raise ValueError(
            f"checkpoint {restored.saved.file} holds {type(restored.model).__name__}, which finds "
            "no masks: expected the run directory of a stage 2 or of a baseline"
        )
    return restored.model


def default_device() -> str:
    """The first GPU where there is one, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def on_device(net: Net, device: str) -> Net:
    """The net on `device`; ValueError where there is no such device."""
    try:
        return net.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ValueError(
            f"device {device!r} cannot be used ({first_line(error)}): try --device cpu"
        ) from error


def write_configuration(stage: Namespace, directory: Path) -> None:
    """Write the resolved configuration of a stage as config.yaml in its run directory."""
    text = stage_parser().dump(stage, format="yaml")  # without what is None
    # A None that is not the default; a release has no trainer at all.
    if stage.trainer and stage.trainer.check_val_every_n_epoch is None:
        text = text.replace("\ntrainer:\n", "\ntrainer:\n  check_val_every_n_epoch: null\n")
    write_whole(directory / CONFIG_NAME, text)


def keep_manifest(index: Path, directory: Path) -> None:
    """Keeps the manifest that a run learns from beside its weights, as it is now.

    Where images join the data later, another one takes its place, whose splits may differ.
    """
    place = directory / MANIFEST_NAME
    if index == place:
        return
    with whole(place) as path:
        try:
            os.link(index, path)
        except OSError:  # another file system, or one without links
            shutil.copyfile(index, path)


def reopen(data: LightningDataModule, directory: Path | None) -> None:
    """Lets a run's data be what it learned from; of a run that kept none, what is there now."""
    kept = directory / MANIFEST_NAME if directory else None
    if isinstance(data, IMDDDataModule) and kept and kept.is_file():
        data.kept = kept


def read_thresholds(file: Path) -> OperatingPoints:
    """The thresholds in a thresholds.json.

    Raises FileNotFoundError where there is none, ValueError where it is broken or something else.
    """
    if not file.is_file():
        raise FileNotFoundError(f"thresholds {file} is missing: expected a thresholds.json")
    try:
        return parse_thresholds(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{file} is broken ({reason}): expected what python -m experiments.calibrate writes; "
            "delete it and calibrate again"
        ) from error


def parse_thresholds(content: object) -> OperatingPoints:
    """The thresholds in what a thresholds.json holds; ValueError for anything else."""
    points = parse_operating_points(content)
    return replace(points, by_name={normalise_name(k): v for k, v in points.by_name.items()})


def write_thresholds(
    file: Path, calibration: Calibration, *, naming: str, split: str, manifest_sha256: str
) -> None:
    """Write the calibration, and what it was made on, as `file`."""
    made_on = {"split": split, "manifest_sha256": manifest_sha256, "naming": naming}
    content = {"version": VERSION, **made_on, **calibration.content()}
    write_whole(file, json.dumps(content, indent=2, allow_nan=False) + "\n")


def read_configuration(checkpoint: Path) -> tuple[dict[str, object], Path]:
    """The raw config.yaml of a run, checkpoint file or release, and its checkpoint's file.

    Raises FileNotFoundError or ValueError where it is missing, or a release's names foreign code.
    """
    file = find_checkpoint(checkpoint)
    directory = directory_of(file)
    config = directory / CONFIG_NAME
    if not config.is_file():
        raise FileNotFoundError(
            f"{config} is missing: expected the config.yaml that the run wrote "
            "beside its checkpoints folder; keep the run directory whole"
        )
    raw = read_layer(config)
    if file.name == RELEASE_NAME:
        raw = _place_weights(raw, directory)
        try:
            check_own_classes([raw.get("data"), raw.get("model")])
        except ValueError as error:
            raise ValueError(f"{config}: {error}") from error
    return raw, file


def _read(checkpoint: Path) -> Restored:
    """The unfilled model of a config.yaml, and what is saved beside it."""
    file = find_checkpoint(checkpoint)
    saved = read_stage(file)
    raw, _ = read_configuration(file)
    directory = directory_of(file)
    try:
        # Callbacks and devices of the training machine have no say here.
        objects = build_stage(parse_stage({**raw, "trainer": {}}))
    except ValueError as error:
        raise ValueError(f"{directory / CONFIG_NAME}: {error}") from error
    reopen(objects.data, directory)
    return Restored(objects.model, objects.data, saved, raw, directory)


def directory_of(file: Path) -> Path:
    """The run's or release's directory that a checkpoint's file lies in."""
    return file.parent if file.name == RELEASE_NAME else file.parent.parent


def check_own_classes(node: object) -> None:
    """ValueError where a release's configuration names a class that is not of this project.

    A run's config.yaml is the user's own, a release comes from elsewhere: importing what it names
    would run it.
    """
    name = node.get("class_path") if isinstance(node, Mapping) else node
    could_import = isinstance(node, Mapping) or (isinstance(node, str) and _names_a_module(node))
    if could_import and isinstance(name, str) and not name.startswith(OWN_PACKAGES):
        raise ValueError(
            f"got the class {name}, expected one of this project's: trust no release that names "
            "others"
        )
    values = node.values() if isinstance(node, Mapping) else node
    for value in values if isinstance(values, Iterable) and not isinstance(values, str) else ():
        check_own_classes(value)


def _names_a_module(word: str) -> bool:
    """Whether the word could name something in an installed module; nothing is imported.

    A class may stand in a configuration as its mere path, without `class_path`.
    """
    parts = word.split(".")
    is_path = len(parts) > 1 and all(part.isidentifier() for part in parts)
    return is_path and importlib.util.find_spec(parts[0]) is not None


def _place_weights(node: dict[str, object], directory: Path) -> dict[str, object]:
    """The configuration with the weights that lie in the release named by where it lies now."""
    placed: dict[str, object] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            placed[key] = _place_weights(value, directory)
        elif key == PRETRAINED_KEY and isinstance(value, str) and value.startswith(INSIDE):
            placed[key] = str(directory / value.removeprefix(INSIDE))
        else:
            placed[key] = value
    return placed
