"""A trained stage from its run or release: config.yaml builds it, the checkpoint fills it."""

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from jsonargparse import Namespace
from lightning import LightningDataModule, LightningModule
from lightning.pytorch.utilities import rank_zero_only

from experiments.config import (
    build_stage,
    parse_stage,
    read_layer,
    stage_parser,
)
from experiments.thresholds import THRESHOLDS_NAME, read_thresholds
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.segmentation_module import SegmentationModule
from lightning_modules.weights_io import RELEASE_NAME, SavedStage, find_checkpoint, read_stage

CONFIG_NAME = "config.yaml"
PRETRAINED_KEY = "pretrained"
# How a release names weights in a folder of its own, wherever it lies.
INSIDE = "./"
OWN_PACKAGES = ("datamodules.", "lightning_modules.")


@rank_zero_only
def write_configuration(stage: Namespace, directory: Path) -> None:
    """The resolved configuration of a stage as config.yaml in its run directory."""
    directory.mkdir(parents=True, exist_ok=True)
    text = stage_parser().dump(stage)
    temporary = directory / f".{CONFIG_NAME}"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(directory / CONFIG_NAME)


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


def load_pretrain(checkpoint: Path) -> DiffusionPretrain:
    """Stage 1 from a run, checkpoint file or release, with its averaged weights, for evaluation.

    Raises FileNotFoundError or ValueError, one line, as `load_stage` does.
    """
    restored = _unfilled(checkpoint, "pretrain")
    if not isinstance(restored.model, DiffusionPretrain):
        raise ValueError(
            f"checkpoint {restored.saved.file} holds {type(restored.model).__name__}, which cannot "
            "draw pictures: expected the run directory of a stage 1"
        )
    restored.model.restore(restored.saved)
    return restored.model.eval()


def load_stage(checkpoint: Path) -> SegmentationModule:
    """The stage-2 model of a run, checkpoint file or release, in evaluation mode.

    Raises FileNotFoundError or ValueError, one line, when the checkpoint or its config.yaml is
    missing, damaged or not ours, or when it holds no stage that finds masks.
    """
    restored = _unfilled(checkpoint, "finetune")
    if not isinstance(restored.model, SegmentationModule):
        raise ValueError(
            f"checkpoint {restored.saved.file} holds {type(restored.model).__name__}, which finds "
            "no masks: expected the run directory of a stage 2 or of a baseline"
        )
    return _fill_tiled(restored.model, restored)


def load_any(checkpoint: Path) -> Restored:
    """Whatever one stage a run, checkpoint file or release holds, filled, in evaluation mode.

    Its weights are then in the model alone: at paper scale a second copy takes 4 GB. Raises
    FileNotFoundError or ValueError, one line, as `load_stage` does, and for a run of two stages.
    """
    restored = _unfilled(checkpoint, "")
    model = restored.model
    if isinstance(model, SegmentationModule):
        _fill_tiled(model, restored)
    elif isinstance(model, DiffusionPretrain):
        model.restore(restored.saved)
        model.eval()
    else:
        raise ValueError(
            f"checkpoint {restored.saved.file} holds {type(model).__name__}: expected a stage 1, a "
            "stage 2 or a baseline"
        )
    restored.saved.state.clear()
    return restored


def _fill_tiled(model: SegmentationModule, restored: Restored) -> SegmentationModule:
    """The model with its weights, its words and its operating point."""
    model.restore(restored.saved)
    point_file = restored.directory / THRESHOLDS_NAME
    if point_file.is_file():
        model.post_processing.calibrate(read_thresholds(point_file))
    return model.eval()


def _unfilled(checkpoint: Path, stage: str) -> Restored:
    """The unfilled model of a config.yaml, and what is saved beside it.

    stage: which of a two-stage run is meant.
    """
    folder = checkpoint / stage if (checkpoint / stage).is_dir() else checkpoint
    file = find_checkpoint(folder)
    saved = read_stage(file)
    is_release = file.name == RELEASE_NAME
    directory = file.parent if is_release else file.parent.parent
    config = directory / CONFIG_NAME
    if not config.is_file():
        raise FileNotFoundError(
            f"{config} is missing: expected the config.yaml that the run wrote "
            "beside its checkpoints folder; keep the run directory whole"
        )
    raw = read_layer(config)
    try:
        if is_release:
            raw = place_weights(raw, directory)
        # Callbacks and devices of the training machine have no say here.
        settings = {**raw, "trainer": {}}
        if is_release:
            check_own_classes([settings.get(key) for key in ("data", "model")])
        objects = build_stage(parse_stage(settings))
    except ValueError as error:
        raise ValueError(f"{config}: {error}") from error
    return Restored(objects.model, objects.data, saved, raw, directory)


def check_own_classes(node: object) -> None:
    """ValueError where a release's configuration names a class that is not of this project.

    A run's config.yaml is the user's own, a release comes from elsewhere: importing what it names
    would run it.
    """
    name = node.get("class_path") if isinstance(node, Mapping) else node
    could_import = isinstance(node, Mapping) or (isinstance(node, str) and names_a_module(node))
    if could_import and isinstance(name, str) and not name.startswith(OWN_PACKAGES):
        raise ValueError(
            f"got the class {name}, expected one of this project's: trust no release that names "
            "others"
        )
    values = node.values() if isinstance(node, Mapping) else node
    for value in values if isinstance(values, Iterable) and not isinstance(values, str) else ():
        check_own_classes(value)


def names_a_module(word: str) -> bool:
    """Whether the word could name something in an installed module; nothing is imported.

    A class may stand in a configuration as its mere path, without `class_path`.
    """
    parts = word.split(".")
    is_path = len(parts) > 1 and all(part.isidentifier() for part in parts)
    return is_path and importlib.util.find_spec(parts[0]) is not None


def place_weights(node: dict[str, object], directory: Path) -> dict[str, object]:
    """The configuration with the weights that lie in the release named by where it lies now."""
    placed: dict[str, object] = {}
    for key, value in node.items():
        if isinstance(value, dict):
            placed[key] = place_weights(value, directory)
        elif key == PRETRAINED_KEY and isinstance(value, str) and value.startswith(INSIDE):
            placed[key] = str(directory / value.removeprefix(INSIDE))
        else:
            placed[key] = value
    return placed
