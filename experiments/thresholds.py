"""thresholds.json beside the weights: at which scores they speak up, and why at these."""

import json
from pathlib import Path

from datamodules.whole_files import write_whole
from lightning_modules.metrics.calibration import Calibration
from lightning_modules.nets.post_processing import (
    VERSION,
    OperatingPoints,
    parse_operating_points,
)

THRESHOLDS_NAME = "thresholds.json"


def read_thresholds(file: Path) -> OperatingPoints:
    """The thresholds in a thresholds.json.

    Raises FileNotFoundError where there is none, ValueError where it is broken or something else.
    """
    if not file.is_file():
        raise FileNotFoundError(f"thresholds {file} is missing: expected a thresholds.json")
    try:
        return parse_operating_points(json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{file} is broken ({reason}): expected what python -m experiments.calibrate writes; "
            "delete it and calibrate again"
        ) from error


def write_thresholds(
    file: Path, calibration: Calibration, *, naming: str, split: str, manifest_sha256: str
) -> None:
    """The calibration and what it was made on as `file`, written whole or not at all."""
    made_on = {"split": split, "manifest_sha256": manifest_sha256, "naming": naming}
    text = json.dumps(
        {"version": VERSION, **made_on, **calibration.content()}, indent=2, allow_nan=False
    )
    write_whole(file, text + "\n")
