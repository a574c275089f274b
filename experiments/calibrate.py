"""Chooses at which scores a trained stage 2 or baseline speaks up, on images it is not tested on.

    python -m experiments.calibrate --checkpoint RUN --objective recall=0.95

How thresholds are chosen is in `lightning_modules/metrics/calibration.py`.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from experiments.cli import run_command

if TYPE_CHECKING:
    from datamodules.imdd import IMDDDataModule
    from lightning_modules.metrics.calibration import (
        Calibration,
        ImageChoice,
        Proportion,
        TypeChoice,
    )
    from lightning_modules.segmentation_module import SegmentationModule

COLUMNS = ("type", "masks from", "alarm from", "found", "false alarms", "precision", "ECE")


def calibrate(
    *,
    checkpoint: Path,
    objective: str = "balanced",
    manifest: str = "",
    root: str = "",
    split: str = "val",
    min_images: int = 10,
    review_error_rate: float = 0.05,
    naming: str = "",
    out: Path | None = None,
    device: str = "",
) -> None:
    """Choose thresholds for a target, on images that are not tested on.

    Args:
        checkpoint: a run directory, a .ckpt in it, a release
        objective: recall=0.95, false_alarm_rate=0.01, best_f1, or balanced: as a run does
        manifest: calibrate on this (default: the run's data)
        root: the manifest's data folder, where it has moved
        split: the split whose images decide, never test
        min_images: a type shown by fewer images keeps the thresholds of all types
        review_error_rate: the share of defective images that may score under the band that a
            person judges, and of good ones above it
        naming: softmax or independent (default: the run's)
        out: the file (default: thresholds.json of the run)
        device: cpu, cuda, cuda:1 (default: the first GPU, else the CPU)
    """
    if split == "test":
        raise ValueError(
            "got --split test, expected another split: thresholds chosen on the test images "
            "would make their figures too good; use val, or --manifest of other images"
        )
    if out and not out.absolute().parent.is_dir():
        raise ValueError(f"--out: the folder of {out} is missing: make it or choose another")
    from datamodules.imdd import IMDDDataModule
    from experiments.checkpoints import (
        THRESHOLDS_NAME,
        default_device,
        load_any,
        on_device,
        write_thresholds,
    )
    from experiments.predictor import set_naming
    from experiments.train import prepare_alone
    from lightning_modules.metrics.calibration import CalibrationRule, parse_objective
    from lightning_modules.segmentation_module import SegmentationModule
    from lightning_modules.weights_io import RELEASE_NAME

    rule = CalibrationRule(parse_objective(objective), min_images, review_error_rate)
    restored = load_any(checkpoint)
    model, file = restored.model, restored.saved.file
    if not isinstance(model, SegmentationModule):
        raise ValueError(
            f"checkpoint {file} holds {type(model).__name__}, which finds no masks: give the run "
            "of a stage 2 or of a baseline"
        )
    if not out and file.name == RELEASE_NAME:
        raise ValueError(
            f"{restored.directory} is a release, whose files its hashes seal: give --out FILE and "
            "predict with --thresholds FILE, or calibrate the run and export it again"
        )
    if naming:
        set_naming(model, naming)
    data = IMDDDataModule(manifest=manifest, root=root) if manifest else restored.data
    assert isinstance(data, IMDDDataModule)
    prepare_alone(data)
    data.setup("validate")
    on_device(model, device or default_device())
    model.calibration_rule = rule
    calibration = choose(model, data, split)
    file, sha256 = out or restored.directory / THRESHOLDS_NAME, data.index.sha256
    write_thresholds(file, calibration, naming=model.naming, split=split, manifest_sha256=sha256)
    report(calibration, file)


def choose(model: SegmentationModule, data: IMDDDataModule, split: str) -> Calibration:
    """The thresholds that the model's rule gives on the split, from one pass over its images."""
    from lightning import Trainer

    from experiments.train import expected_warnings_hidden

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    model.set_vocabulary(data.vocabulary)
    device = model.device
    with expected_warnings_hidden():
        trainer = Trainer(
            accelerator="gpu" if device.type == "cuda" else device.type,
            devices=[device.index or 0] if device.type == "cuda" else 1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=sys.stdout.isatty(),
        )
        trainer.validate(model, data.whole_images(split), verbose=False)
    assert model.calibration is not None
    return model.calibration


def report(calibration: Calibration, file: Path) -> None:
    """Prints the thresholds with what they did on the split, and where they are."""
    from rich.console import Console

    from experiments.tables import Table, to_rich

    image, types = calibration.image, {"any type": calibration.default} | calibration.types
    rows: list[tuple[str | float | None, ...]] = [("image", "", image.threshold, *figures(image))]
    for name, one in types.items():
        if name == "any type" or not one.reason:
            alarm = max(one.pixel_threshold, one.alarm_threshold)
            rows.append((name, one.pixel_threshold, alarm, *figures(one)))
    console = Console()
    console.print(to_rich(Table(f"thresholds for {calibration.objective}", COLUMNS, tuple(rows))))
    reasons = {"image": image.reason} | {name: one.reason for name, one in types.items()}
    lines = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
    asked = f"{image.review_low:.4f} to {image.review_high:.4f}: {share(image.review_share)}"
    lines += [f"a person judges image scores from {asked} of the images", f"thresholds: {file}"]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


def figures(one: ImageChoice | TypeChoice) -> tuple[str | float | None, ...]:
    """What stands beside the thresholds: found, false alarms, precision, calibration error."""
    shares = (one.recall, one.false_alarm_rate, one.precision)
    return *(share(each) for each in shares), one.ece


def share(one: Proportion) -> str:
    """The share with its counts and its 95 % interval."""
    if one.value is None:
        return "-"
    return f"{one.value:.3f} ({one.hits}/{one.of}, {one.low:.3f}-{one.high:.3f})"


if __name__ == "__main__":
    run_command(calibrate)
