"""Chooses at which scores a trained stage 2 or baseline speaks up, on pictures it is not tested on.

    python -m experiments.calibrate --checkpoint RUN --objective recall=0.95

How thresholds are chosen is in `lightning_modules/metrics/calibration.py`.
"""

import logging
import sys
from pathlib import Path

import torch
from jsonargparse import ArgumentParser, Namespace
from lightning import Trainer
from rich.console import Console

from datamodules.imdd import IMDDDataModule
from experiments.checkpoints import Restored, load_any
from experiments.command import run_command
from experiments.devices import default_device, on_device
from experiments.predictor import set_naming
from experiments.tables import Table, to_rich
from experiments.thresholds import THRESHOLDS_NAME, write_thresholds
from experiments.train import expected_warnings_hidden, prepare_alone
from lightning_modules.metrics.calibration import (
    Calibration,
    CalibrationRule,
    Proportion,
    TypeChoice,
    parse_objective,
)
from lightning_modules.segmentation_module import SegmentationModule
from lightning_modules.weights_io import RELEASE_NAME

COLUMNS = ("type", "masks from", "alarm from", "found", "false alarms", "precision", "ECE")


def main(argv: list[str] | None = None) -> int:
    """Writes thresholds.json anew and prints what it promises; 0 when done."""
    settings = make_parser().parse_args(argv)
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    if settings.split == "test":
        raise ValueError(
            "got --split test, expected another split: thresholds chosen on the test pictures "
            "would make their figures too good; use val, or --manifest of other pictures"
        )
    objective = parse_objective(settings.objective)
    rule = CalibrationRule(objective, settings.min_images, settings.review_error_rate)
    checkpoint = Path(settings.checkpoint)
    finetune = checkpoint / "finetune"
    restored = load_any(finetune if finetune.is_dir() else checkpoint)
    model = finds_masks(restored)
    if settings.naming:
        set_naming(model, settings.naming)
    file = place_of(restored, settings.out)
    data = open_data(restored, settings.manifest, settings.root)
    calibration = calibrate(model, data, rule, settings)
    write_thresholds(
        file,
        calibration,
        naming=model.naming,
        split=settings.split,
        manifest_sha256=data.index.sha256,
    )
    report(calibration, file)
    return 0


def make_parser() -> ArgumentParser:
    """The command line of calibrate."""
    parser = ArgumentParser(
        prog="python -m experiments.calibrate",
        description="Choose thresholds for a target, on pictures that are not tested on.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    add = parser.add_argument
    add("--checkpoint", type=str, required=True, help="a run directory, a .ckpt in it, a release")
    add(
        "--objective",
        type=str,
        default="balanced",
        help="recall=0.95, false_alarm_rate=0.01, best_f1, or balanced: as a run does",
    )
    add("--manifest", type=str, default="", help="calibrate on this (default: the run's data)")
    add("--root", type=str, default="", help="the manifest's data folder, where it has moved")
    add("--split", type=str, default="val", help="the split whose pictures decide, never test")
    add(
        "--min_images",
        type=int,
        default=10,
        help="a type shown by fewer pictures keeps the thresholds of all types",
    )
    add(
        "--review_error_rate",
        type=float,
        default=0.05,
        help="the share of defective pictures that may score under the band that a person "
        "judges, and of good ones above it",
    )
    add("--naming", type=str, default="", help="softmax or independent (default: the run's)")
    add("--out", type=str, default="", help="the file (default: thresholds.json of the run)")
    add("--device", type=str, default=default_device(), help="cpu, cuda, cuda:1")
    return parser


def finds_masks(restored: Restored) -> SegmentationModule:
    """The stage that was restored; ValueError for one without masks."""
    if not isinstance(restored.model, SegmentationModule):
        raise ValueError(
            f"checkpoint {restored.saved.file} holds {type(restored.model).__name__}, which finds "
            "no masks: give the run's finetune stage"
        )
    return restored.model


def place_of(restored: Restored, out: str) -> Path:
    """The file to write; ValueError for the one that a release's hashes seal, or in no folder."""
    if out:
        if not Path(out).absolute().parent.is_dir():
            raise ValueError(f"--out: the folder of {out} is missing: make it or choose another")
        return Path(out)
    if restored.saved.file.name == RELEASE_NAME:
        raise ValueError(
            f"{restored.directory} is a release, whose files its hashes seal: give --out FILE and "
            "predict with --thresholds FILE, or calibrate the run and export it again"
        )
    return restored.directory / THRESHOLDS_NAME


def open_data(restored: Restored, manifest: str, root: str) -> IMDDDataModule:
    """The data of the manifest, or of the run where none is given, ready to be read."""
    if manifest:
        data = IMDDDataModule(manifest=manifest, root=root)
    else:
        assert isinstance(restored.data, IMDDDataModule)
        data = restored.data
    prepare_alone(data)
    data.setup("validate")
    return data


def calibrate(
    model: SegmentationModule, data: IMDDDataModule, rule: CalibrationRule, settings: Namespace
) -> Calibration:
    """The thresholds that the rule gives on the split, from one pass over its pictures."""
    model.calibration_rule = rule
    model.set_vocabulary(data.vocabulary)
    device = torch.device(settings.device)
    on_device(model, settings.device)
    with expected_warnings_hidden():
        trainer = Trainer(
            accelerator="gpu" if device.type == "cuda" else device.type,
            devices=[device.index or 0] if device.type == "cuda" else 1,
            logger=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            enable_progress_bar=sys.stdout.isatty(),
        )
        trainer.validate(model, data.whole_images(settings.split), verbose=False)
    assert model.calibration is not None
    return model.calibration


def report(calibration: Calibration, file: Path) -> None:
    """Prints the thresholds with what they did on the split, and where they are."""
    console = Console()
    console.print(to_rich(promises(calibration)))
    image = calibration.image
    reasons = {"image": image.reason, "any type": calibration.default.reason}
    reasons |= {name: one.reason for name, one in calibration.types.items()}
    lines = [f"{name}: {reason}" for name, reason in reasons.items() if reason]
    low, high = image.review_band
    asked = f"{low:.4f} to {high:.4f}: {share(image.review_share)} of the pictures"
    lines += [f"a person judges image scores from {asked}", f"thresholds: {file}"]
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


def promises(calibration: Calibration) -> Table:
    """One row for the image's answer, one for any type, one for each with its own thresholds."""
    image = calibration.image
    answer = TypeChoice(
        image.threshold, image.threshold, image.figures, image.calibration_error, image.reason
    )
    own = {name: one for name, one in calibration.types.items() if not one.reason}
    rows = {"image": answer, "any type": calibration.default, **own}
    return Table(
        f"thresholds for {calibration.rule.objective}",
        COLUMNS,
        tuple(
            (
                name,
                "" if name == "image" else one.pixel_threshold,
                max(one.pixel_threshold, one.alarm_threshold),
                share(one.figures.recall),
                share(one.figures.false_alarm_rate),
                share(one.figures.precision),
                one.calibration_error,
            )
            for name, one in rows.items()
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
    run_command(main)
