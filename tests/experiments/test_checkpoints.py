"""Holds that a trained stage comes back from its run directory, or is refused in one line."""

import json
from pathlib import Path

import pytest
import torch

from datamodules.vocabulary import Vocabulary
from experiments.checkpoints import check_own_classes, load_stage, write_configuration
from experiments.config import load_config, parse_stage
from lightning_modules.baselines.constant import Constant
from lightning_modules.weights_io import STAMP, stamp


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """The run directory of a constant baseline that was trained on cracks and stains."""
    model = Constant()
    vocabulary = Vocabulary.parse("crack, fissure; stain")
    file = tmp_path / "checkpoints" / "last.ckpt"
    file.parent.mkdir()
    state = model.state_dict()
    torch.save({STAMP: stamp("constant", vocabulary.entries), "state_dict": state}, file)
    write_configuration(parse_stage(load_config(["baselines/constant.yaml"])), tmp_path)
    point = {"pixel_threshold": 0.25, "image_threshold": 0.75}
    (tmp_path / "thresholds.json").write_text(json.dumps(point))
    return tmp_path


def refusal(directory: Path) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load_stage(directory)
    text = str(caught.value)
    assert "\n" not in text
    assert str(directory) in text and "expected" in text
    return text


def test_words_of_the_checkpoint_come_back(directory: Path) -> None:
    assert load_stage(directory).vocabulary.entries[1] == ("crack", "fissure")


def test_operating_point_is_that_of_the_run(directory: Path) -> None:
    post_processing = load_stage(directory).post_processing
    assert post_processing.points.default.pixel == 0.25
    assert post_processing.points.image == 0.75


def test_checkpoint_file_stands_for_its_run_directory(directory: Path) -> None:
    model = load_stage(directory / "checkpoints" / "last.ckpt")
    assert model.post_processing.points.default.pixel == 0.25


def test_devices_of_the_training_machine_have_no_say(directory: Path) -> None:
    config = directory / "config.yaml"
    config.write_text(config.read_text().replace("devices: 1", "devices: 512"))
    assert load_stage(directory).vocabulary is not None


def test_missing_configuration_is_one_line(directory: Path) -> None:
    (directory / "config.yaml").unlink()
    assert "config.yaml is missing" in refusal(directory)


@pytest.mark.parametrize("text", ["", "model: [", "- a", "\x00"])
def test_broken_configuration_is_one_line(text: str, directory: Path) -> None:
    (directory / "config.yaml").write_text(text)
    assert "config.yaml" in refusal(directory)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"pixel": 1}', '{"pixel_threshold": 7, "image_threshold": 0.5}']
)
def test_broken_operating_point_is_one_line(text: str, directory: Path) -> None:
    (directory / "thresholds.json").write_text(text)
    assert "thresholds.json" in refusal(directory)


def test_truncated_checkpoint_is_one_line(directory: Path) -> None:
    file = directory / "checkpoints" / "last.ckpt"
    file.write_bytes(file.read_bytes()[:300])
    assert "cannot be read" in refusal(directory)


def test_empty_directory_is_one_line(tmp_path: Path) -> None:
    assert "no checkpoint at" in refusal(tmp_path)


def test_checkpoint_that_does_not_fit_its_configuration_is_one_line(directory: Path) -> None:
    file = directory / "checkpoints" / "last.ckpt"
    saved = torch.load(file, weights_only=True)
    saved["state_dict"]["net.weight"] = torch.zeros(1)
    torch.save(saved, file)
    assert "last.ckpt" in refusal(directory)


def test_configuration_is_written_whole(directory: Path) -> None:
    assert {path.name for path in directory.iterdir()} == {
        "checkpoints", "config.yaml", "thresholds.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    "node",
    [
        {"class_path": "os.system"},
        {"init_args": {"captioner": "subprocess.Popen"}},
        {"init_args": {"parts": [{"class_path": "torch.nn.Linear"}]}},
        "pickle.loads",
    ],
)
def test_foreign_class_of_a_release_is_refused_before_it_is_imported(node: object) -> None:
    with pytest.raises(ValueError, match="expected one of this project's"):
        check_own_classes([node])


@pytest.mark.parametrize(
    "word", ["data/imdd/manifest.parquet", "openai/clip-vit-base-patch16", "16-mixed", "1.5"]
)
def test_words_that_name_no_module_are_only_words(word: str) -> None:
    check_own_classes([{"class_path": "lightning_modules.x.Y", "init_args": {"name": word}}])
