"""A trained stage from its run directory: config.yaml builds it, the checkpoint fills it."""

import json
from pathlib import Path

from jsonargparse import Namespace
from lightning import LightningModule
from lightning.pytorch.utilities import rank_zero_only

from experiments.configuration import (
    build_stage,
    parse_stage,
    read_layer,
    stage_parser,
)
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.saved_stage import SavedStage, find_checkpoint, read_stage
from lightning_modules.tiled_model import TiledModel

CONFIG_NAME = "config.yaml"
THRESHOLDS_NAME = "thresholds.json"


@rank_zero_only
def write_configuration(stage: Namespace, directory: Path) -> None:
    """The resolved configuration of a stage as config.yaml in its run directory."""
    directory.mkdir(parents=True, exist_ok=True)
    text = stage_parser().dump(stage)
    temporary = directory / f".{CONFIG_NAME}"
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(directory / CONFIG_NAME)


def load_pretrain(checkpoint: Path) -> DiffusionPretrain:
    """Stage 1 from a run directory or checkpoint file, with its averaged weights, for evaluation.

    Raises FileNotFoundError or ValueError, one line, as `load_stage` does.
    """
    model, saved, _ = _restored(checkpoint, "pretrain")
    if not isinstance(model, DiffusionPretrain):
        raise ValueError(
            f"checkpoint {saved.file} holds {type(model).__name__}, which cannot draw pictures: "
            "expected the run directory of a stage 1"
        )
    model.restore(saved)
    return model.eval()


def load_stage(checkpoint: Path) -> TiledModel:
    """The stage-2 model of a run directory or checkpoint file, in evaluation mode.

    Raises FileNotFoundError or ValueError, one line, when the checkpoint or its config.yaml is
    missing, truncated or not ours, or when it holds no stage that finds masks.
    """
    model, saved, directory = _restored(checkpoint, "finetune")
    if not isinstance(model, TiledModel):
        raise ValueError(
            f"checkpoint {saved.file} holds {type(model).__name__}, which finds no masks: expected "
            "the run directory of a stage 2 or of a baseline"
        )
    model.restore(saved)
    point_file = directory / THRESHOLDS_NAME
    if point_file.is_file():
        model.post_processing.calibrate(*read_thresholds(point_file))
    return model.eval()


def _restored(checkpoint: Path, stage: str) -> tuple[LightningModule, SavedStage, Path]:
    """The unfilled model of a run's config.yaml, the saved weights, and the run's directory.

    stage: which of a two-stage run is meant.
    """
    folder = checkpoint / stage if (checkpoint / stage).is_dir() else checkpoint
    file = find_checkpoint(folder)
    saved = read_stage(file)
    directory = file.parent.parent
    if not (directory / CONFIG_NAME).is_file():
        raise FileNotFoundError(
            f"{directory / CONFIG_NAME} is missing: expected the config.yaml that the run wrote "
            "beside its checkpoints folder; keep the run directory whole"
        )
    raw = read_layer(directory / CONFIG_NAME)
    # Callbacks and devices of the training machine have no say here.
    try:
        model = build_stage(parse_stage({**raw, "trainer": {}})).model
    except ValueError as error:
        raise ValueError(f"{directory / CONFIG_NAME}: {error}") from error
    return model, saved, directory


def read_thresholds(file: Path) -> tuple[float, float]:
    """Pixel and image threshold from a thresholds.json; ValueError where it is broken."""
    try:
        point = json.loads(file.read_text(encoding="utf-8"))
        thresholds = float(point["pixel_threshold"]), float(point["image_threshold"])
        if not all(0 <= value <= 1 for value in thresholds):
            raise ValueError(f"got {thresholds}")
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{file} is broken ({error}): expected pixel_threshold and image_threshold in [0, 1]; "
            "make it anew with python -m experiments.run --weights"
        ) from error
    return thresholds
