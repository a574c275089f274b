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
    from experiments.checkpoints import Restored
    from experiments.tables import Table
    from lightning_modules.metrics.calibration import Calibration, CalibrationRule, Proportion
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
    from experiments.checkpoints import default_device, load_any, on_device, write_thresholds
    from experiments.predictor import set_naming
    from lightning_modules.metrics.calibration import CalibrationRule, parse_objective

    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    rule = CalibrationRule(parse_objective(objective), min_images, review_error_rate)
    restored = load_any(checkpoint)
    model = finds_masks(restored)
    if naming:
        set_naming(model, naming)
    file = place_of(restored, out)
    data = open_data(restored, manifest, root)
    on_device(model, device or default_device())
    calibration = choose(model, data, rule, split)
    write_thresholds(
        file,
        calibration,
        naming=model.naming,
        split=split,
        manifest_sha256=data.index.sha256,
    )
    report(calibration, file)


def finds_masks(restored: Restored) -> SegmentationModule:
    """The stage that was restored; ValueError for one without masks."""
    from lightning_modules.segmentation_module import SegmentationModule

    if not isinstance(restored.model, SegmentationModule):
        raise ValueError(
            f"checkpoint {restored.saved.file} holds {type(restored.model).__name__}, which finds "
            "no masks: give the run of a stage 2 or of a baseline"
        )
    return restored.model


def place_of(restored: Restored, out: Path | None) -> Path:
    """The file to write; ValueError for the one that a release's hashes seal, or in no folder."""
    from experiments.checkpoints import THRESHOLDS_NAME
    from lightning_modules.weights_io import RELEASE_NAME

    if out is not None:
        if not out.absolute().parent.is_dir():
            raise ValueError(f"--out: the folder of {out} is missing: make it or choose another")
        return out
    if restored.saved.file.name == RELEASE_NAME:
        raise ValueError(
            f"{restored.directory} is a release, whose files its hashes seal: give --out FILE and "
            "predict with --thresholds FILE, or calibrate the run and export it again"
        )
    return restored.directory / THRESHOLDS_NAME


def open_data(restored: Restored, manifest: str, root: str) -> IMDDDataModule:
    """The data of the manifest, or of the run where none is given, ready to be read."""
    from datamodules.imdd import IMDDDataModule
    from experiments.train import prepare_alone

    data = IMDDDataModule(manifest=manifest, root=root) if manifest else restored.data
    assert isinstance(data, IMDDDataModule)
    prepare_alone(data)
    data.setup("validate")
    return data


def choose(
    model: SegmentationModule, data: IMDDDataModule, rule: CalibrationRule, split: str
) -> Calibration:
    """The thresholds that the rule gives on the split, from one pass over its images."""
    from lightning import Trainer

    from experiments.train import expected_warnings_hidden

    model.calibration_rule = rule
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

    from experiments.tables import to_rich

    console = Console()
    console.print(to_rich(figures_table(calibration)))
    image = calibration.image
    reasons = {"image": image.reason, "any type": calibration.default.reason}
    reasons |= {name: one.reason for name, one in calibration.types.items()}
    lines = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
    low, high = image.review_band
    asked = f"{low:.4f} to {high:.4f}: {share(image.review_share)} of the images"
    lines += [f"a person judges image scores from {asked}", f"thresholds: {file}"]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


def figures_table(calibration: Calibration) -> Table:
    """One row for the image's answer, one for any type, one for each with its own thresholds."""
    from experiments.tables import Table

    image = calibration.image
    types = {"any type": calibration.default}
    types |= {name: one for name, one in calibration.types.items() if not one.reason}
    rows = [("image", "", image.threshold, image)]
    rows += [
        (name, one.pixel_threshold, max(one.pixel_threshold, one.alarm_threshold), one)
        for name, one in types.items()
    ]
    return Table(
        f"thresholds for {calibration.rule.objective}",
        COLUMNS,
        tuple(
            (
                name,
                pixel,
                alarm,
                share(one.figures.recall),
                share(one.figures.false_alarm_rate),
                share(one.figures.precision),
                one.calibration_error,
            )
            for name, pixel, alarm, one in rows
        ),
    )


def share(proportion: Proportion) -> str:
    """The share with its counts and its 95 % interval."""
    if not proportion.of:
        return "-"
    low, high = proportion.interval
    counts = f"{proportion.hits}/{proportion.of}"
    return f"{proportion.value:.3f} ({counts}, {low:.3f}-{high:.3f})"


if __name__ == "__main__":
    run_command(calibrate)
