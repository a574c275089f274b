"""Keeps a run's pictures: one PNG in the run directory, and the same in the run's MLflow record."""

import logging
import os
from pathlib import Path

import numpy as np
from lightning import Trainer
from lightning.pytorch.loggers import MLFlowLogger
from mlflow.exceptions import MlflowException
from PIL import Image

LOGGER = logging.getLogger(__name__)


def write_png(path: Path, picture: np.ndarray) -> None:
    """Writes picture (H, W, 3) uint8 or (H, W) ids; the file is whole or not there at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    Image.fromarray(picture).save(unfinished, format="PNG")
    unfinished.replace(path)


def keep_picture(trainer: Trainer, picture: np.ndarray, *, key: str) -> Path:
    """The path `pictures/<key>_<step>.png` under the run directory, written and logged.

    picture: (H, W, 3) uint8. A full disk and a tracker that doesn't answer are warned of.
    """
    step = trainer.global_step
    path = Path(trainer.default_root_dir) / "pictures" / f"{key}_{step}.png"
    try:
        write_png(path, picture)
    except OSError as error:
        LOGGER.warning("picture %s could not be written, training goes on: %s", path, error)
        return path
    for logger in trainer.loggers:
        if not isinstance(logger, MLFlowLogger):
            continue
        try:
            logger.experiment.log_image(logger.run_id, picture, key=key, step=step)
        except (MlflowException, OSError) as error:
            LOGGER.warning("picture %s is not in MLflow: %s", path, error)
    return path
