"""Holds that a picture reaches the run directory and MLflow, and that a dead tracker is no end."""

import logging
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from lightning.pytorch.loggers import MLFlowLogger
from mlflow.exceptions import MlflowException
from PIL import Image

from callbacks.picture_log import keep_picture

PICTURE = np.full((4, 6, 3), 7, dtype=np.uint8)


class RecordingLogger(MLFlowLogger):
    """An MLFlowLogger without a server: notes what is logged, or fails like a dead one."""

    def __init__(self, *, is_dead: bool = False) -> None:
        self.is_dead = is_dead
        self.logged: list[tuple[str, str, int]] = []

    @property
    def experiment(self) -> Any:
        return self

    @property
    def run_id(self) -> str:
        return "run7"

    def log_image(self, run_id: str, image: np.ndarray, *, key: str, step: int) -> None:
        if self.is_dead:
            raise MlflowException("connection refused")
        self.logged.append((run_id, key, step))


def trainer_with(logger: MLFlowLogger, folder: Path) -> Any:
    return SimpleNamespace(global_step=12, default_root_dir=str(folder), loggers=[logger])


def test_picture_is_in_the_run_directory_and_in_the_run(tmp_path: Path) -> None:
    logger = RecordingLogger()
    path = keep_picture(trainer_with(logger, tmp_path), PICTURE, key="masks_val")
    assert path == tmp_path / "pictures" / "masks_val_12.png"
    assert np.array_equal(np.asarray(Image.open(path)), PICTURE)
    assert logger.logged == [("run7", "masks_val", 12)]


def test_dead_tracker_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    logger = RecordingLogger(is_dead=True)
    with caplog.at_level(logging.WARNING):
        assert keep_picture(trainer_with(logger, tmp_path), PICTURE, key="masks_val").is_file()
    assert "connection refused" in caplog.text


def test_nothing_but_the_picture_is_left(tmp_path: Path) -> None:
    keep_picture(trainer_with(RecordingLogger(), tmp_path), PICTURE, key="samples")
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["samples_12.png"]
