"""Holds that a trained stage and its thresholds come back, or are refused in one line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from experiments.checkpoints import (
    check_own_classes,
    default_device,
    load_any,
    load_pretrain,
    load_stage,
    on_device,
    read_thresholds,
    write_thresholds,
)
from lightning_modules.metrics.calibration import (
    CalibrationRule,
    choose_thresholds,
    parse_objective,
)
from lightning_modules.metrics.calibration_counts import CalibrationCounts
from tests.experiments.small_stages import write_run
from tests.lightning_modules.metrics.test_calibration import line

POINT = {"pixel_threshold": 0.25, "image_threshold": 0.75}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a constant baseline that was trained on cracks and stains."""
    folder = write_run(tmp_path_factory.mktemp("one") / "run", "baselines/constant.yaml", {})
    (folder / "thresholds.json").write_text(json.dumps(POINT))
    return folder


@pytest.fixture
def directory(written: Path, tmp_path: Path) -> Path:
    """A copy of that run directory, to be spoilt."""
    return shutil.copytree(written, tmp_path / "run")


def test_stage_comes_back_with_its_words_and_thresholds_on_any_machine(directory: Path) -> None:
    for place in ("", "checkpoints/last.ckpt"):
        model = load_stage(directory / place)
        assert not model.training and model.vocabulary.entries[1] == ("crack", "fissure")
        points = model.post_processing.points
        assert (points.default.pixel, points.image) == (0.25, 0.75)
    with pytest.raises(ValueError, match="holds Constant, which cannot draw images"):
        load_pretrain(directory)
    config = directory / "config.yaml"
    config.write_text(config.read_text() + "trainer: {devices: 512}\n")
    assert load_any(directory).raw["trainer"] == {"devices": "512"}


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:300])


def add_a_weight(file: Path) -> None:
    saved = torch.load(file, weights_only=True)
    saved["state_dict"]["net.weight"] = torch.zeros(1)
    torch.save(saved, file)


def say(text: str) -> Callable[[Path], object]:
    return lambda file: file.write_text(text)


@pytest.mark.parametrize(
    ("name", "break_it", "words"),
    [
        ("config.yaml", Path.unlink, "config.yaml is missing"),
        *(("config.yaml", say(text), "config.yaml") for text in ("", "model: [", "- a", "\x00")),
        *(
            ("thresholds.json", say(text), "thresholds.json is broken")
            for text in ("", "[]", "\x00", '{"version": 9}', "[" * 100_000, '{"pixel": 1}')
        ),
        ("thresholds.json", say(json.dumps(POINT | {"pixel_threshold": 7})), "is broken"),
        ("checkpoints/last.ckpt", truncate, "cannot be read"),
        ("checkpoints/last.ckpt", add_a_weight, "last.ckpt"),
        ("checkpoints/last.ckpt", Path.unlink, "no checkpoint at"),
    ],
)
def test_what_is_missing_or_damaged_is_one_line(
    name: str, break_it: Callable[[Path], object], words: str, directory: Path
) -> None:
    break_it(directory / name)
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load_stage(directory)
    text = str(caught.value)
    assert words in text and str(directory) in text and "expected" in text and "\n" not in text


def test_foreign_class_of_a_release_is_refused_and_other_words_are_only_words() -> None:
    for node in (
        {"class_path": "os.system"},
        {"init_args": {"captioner": "subprocess.Popen"}},
        {"init_args": {"parts": [{"class_path": "torch.nn.Linear"}]}},
        "pickle.loads",
    ):
        with pytest.raises(ValueError, match="expected one of this project's"):
            check_own_classes([node])
    words = ["data/imdd/manifest.parquet", "openai/clip-vit-base-patch16", "16-mixed", "1.5"]
    check_own_classes([{"class_path": "lightning_modules.x.Y", "init_args": {"names": words}}])


def test_thresholds_come_back_to_the_last_bit_with_what_they_were_chosen_on(tmp_path: Path) -> None:
    counts = CalibrationCounts(("good", "crack", "stain"))
    counts.update(*line(12))
    rule = CalibrationRule(parse_objective("recall=0.9"))
    chosen, file = choose_thresholds(counts, rule, pixel=0.5, image=0.5), tmp_path / "t.json"
    write_thresholds(file, chosen, naming="softmax", split="val", manifest_sha256="ab")
    points, content = read_thresholds(file), json.loads(file.read_text())
    assert points.naming == "softmax" and points.image == chosen.image.threshold
    assert points.review_band == (chosen.image.review_low, chosen.image.review_high)
    pairs = [(points.default, chosen.default)]
    pairs += [(points.by_name[name], one) for name, one in chosen.types.items()]
    for read, one in pairs:
        assert (read.pixel, read.alarm) == (one.pixel_threshold, one.alarm_threshold)
    assert [content[key] for key in ("split", "objective")] == ["val", "recall=0.9"]
    assert content["types"]["crack"]["recall"]["of"] == 12


def test_device_that_is_not_there_is_one_line_and_the_default_can_be_used() -> None:
    for device in ("cuda:99", "teapot"):
        line = f"device '{device}' cannot be used .*--device cpu"
        with pytest.raises(ValueError, match=line) as why:
            on_device(nn.Linear(1, 1), device)
        assert "\n" not in str(why.value)
    net = on_device(nn.Linear(1, 1), default_device())
    assert net.weight.device.type == torch.device(default_device()).type
