"""Holds that thresholds.json gives back what was chosen, or is refused in one line."""

import json
from pathlib import Path

import pytest

from experiments.thresholds import read_thresholds, write_thresholds
from lightning_modules.metrics.calibration import (
    Calibration,
    CalibrationRule,
    choose_thresholds,
    parse_objective,
)
from lightning_modules.metrics.calibration_counts import CalibrationCounts
from tests.lightning_modules.metrics.test_calibration import line


def calibration() -> Calibration:
    """Of twelve images of each type and of good."""
    counts = CalibrationCounts(("good", "crack", "stain"))
    counts.update(*line(12))
    rule = CalibrationRule(parse_objective("recall=0.9"))
    return choose_thresholds(counts, rule, pixel=0.5, image=0.5)


def write(file: Path) -> None:
    """The calibration as the file."""
    write_thresholds(file, calibration(), naming="softmax", split="val", manifest_sha256="ab")


def test_thresholds_come_back_to_the_last_bit(tmp_path: Path) -> None:
    file, chosen = tmp_path / "thresholds.json", calibration()
    write(file)
    points = read_thresholds(file)
    assert points.naming == "softmax" and points.image == chosen.image.threshold
    assert points.review_band == chosen.image.review_band
    pairs = [(points.default, chosen.default)]
    pairs += [(points.by_name[name], one) for name, one in chosen.types.items()]
    for read, one in pairs:
        assert (read.pixel, read.alarm) == (one.pixel_threshold, one.alarm_threshold)


def test_file_says_what_it_was_chosen_for_and_on(tmp_path: Path) -> None:
    file = tmp_path / "thresholds.json"
    write(file)
    content = json.loads(file.read_text())
    assert [content[key] for key in ("version", "split", "naming", "objective")] == [
        2, "val", "softmax", "recall=0.9",
    ]  # fmt: skip
    assert content["types"]["crack"]["recall"]["of"] == 12
    assert sum(content["image"]["reliability"]["images"]) == 36
    assert [path.name for path in tmp_path.iterdir()] == ["thresholds.json"]


@pytest.mark.parametrize("text", ["", "{", "[]", "\x00", '{"version": 9}', "[" * 100_000])
def test_broken_file_is_one_line(text: str, tmp_path: Path) -> None:
    file = tmp_path / "thresholds.json"
    file.write_text(text)
    with pytest.raises(ValueError, match=r"thresholds\.json is broken .*calibrate again") as caught:
        read_thresholds(file)
    assert "\n" not in str(caught.value)


def test_missing_file_is_said_to_be_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"thresholds\.json is missing: expected"):
        read_thresholds(tmp_path / "thresholds.json")
