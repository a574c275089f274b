"""The Python door: a real small stage finds defects in images of every kind, in any words."""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import predictor as predictor_module
from experiments.predictor import (
    PRECISIONS,
    ImageLike,
    Labels,
    Predictor,
    load_predictor,
    read_labels,
    read_pixels,
)
from lightning_modules.mask_finetune import MaskFinetune
from lightning_modules.nets.post_processing import OperatingPoints
from tests.experiments.small_stages import write_run
from tests.lightning_modules.small_parts import small_finetune


@pytest.fixture
def stage(seed: int) -> MaskFinetune:
    return small_finetune().eval()


@pytest.fixture
def predictor(stage: MaskFinetune) -> Predictor:
    return Predictor(stage)


def pixels(height: int = 70, width: int = 90) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_result_has_the_size_of_the_image_and_names_of_the_list(predictor: Predictor) -> None:
    result = predictor.predict(pixels(), labels=["pit", ["burr", "nick"]])
    assert result.names == ("good", "pit", "burr")
    for array in (result.label_map, result.type_map, result.anomaly_map):
        assert array.shape == (70, 90)
    assert result.name in result.names
    assert result.type_scores.sum() == pytest.approx(1, abs=1e-5)
    assert {one.name for one in result.instances} <= {"pit", "burr"}
    assert result.draw().shape == (70, 90, 3)
    assert np.array_equal(result.image, pixels())


def test_file_pillow_image_and_array_give_one_result(predictor: Predictor, tmp_path: Path) -> None:
    image = Image.fromarray(pixels())
    image.save(tmp_path / "a.png")
    kinds: list[ImageLike] = [tmp_path / "a.png", str(tmp_path / "a.png"), image, pixels()]
    maps = [predictor.predict(kind).anomaly_map for kind in kinds]
    assert all(np.array_equal(maps[0], one) for one in maps[1:])


@pytest.mark.parametrize("precision", ["bf16", "16"])
def test_half_precision_halves_the_frozen_nets_and_hardly_moves_the_result(
    stage: MaskFinetune, precision: str
) -> None:
    whole = Predictor(copy.deepcopy(stage)).predict(pixels())
    halved = Predictor(stage, precision).predict(pixels())
    dtypes = {one.dtype for one in stage.features.diffusion.denoiser.parameters()}
    assert dtypes == {PRECISIONS[precision]}
    assert {one.dtype for one in stage.mask_generator.parameters()} == {torch.float32}
    assert halved.anomaly_map.dtype == whole.anomaly_map.dtype
    assert np.allclose(halved.anomaly_map, whole.anomaly_map, atol=0.05)
    assert not np.array_equal(halved.anomaly_map, whole.anomaly_map)


@pytest.mark.parametrize("mode", ["L", "1", "P", "LA", "RGBA", "CMYK"])
def test_pillow_image_is_read_as_its_file_would_be(mode: str, tmp_path: Path) -> None:
    image = Image.fromarray(pixels()).convert(mode)
    image.save(tmp_path / "a.tif")
    assert np.array_equal(read_pixels(image), read_pixels(tmp_path / "a.tif"))


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((8, 8), dtype=np.float32),
        np.zeros((3, 8, 8), dtype=np.uint8),
        np.zeros((0, 8), dtype=np.uint8),
        Image.new("I;16", (8, 8)),
        Image.new("F", (8, 8)),
    ],
)
def test_what_is_no_image_is_refused(image: ImageLike) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_pixels(image)


@pytest.mark.parametrize("labels", [["crack", "scratch, scuff"], ["crack", ["scratch", "scuff"]]])
def test_lists_and_typed_labels_are_one(labels: list[str | list[str]]) -> None:
    assert read_labels(labels) == read_labels("crack; scratch, scuff")


@pytest.mark.parametrize("labels", [[], [""], ["crack; pit"], ["crack", "crack"], ["good"]])
def test_lists_outside_the_grammar_are_refused(labels: list[str]) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_labels(labels)


def test_labels_are_embedded_only_when_they_change_and_those_of_the_training_come_back(
    predictor: Predictor, stage: MaskFinetune, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, embed = [], stage.set_vocabulary
    monkeypatch.setattr(stage, "set_vocabulary", lambda words: (seen.append(words), embed(words)))
    lists: list[Labels | None] = [None, ["pit"], "pit", [["pit"]], ["pit", "burr"], None]
    results = [predictor.predict(pixels(), labels) for labels in lists]
    assert [words.names[1:] for words in seen] == [("pit",), ("pit", "burr"), ("crack", "stain")]
    assert np.array_equal(results[0].anomaly_map, results[-1].anomaly_map)
    assert not torch.is_inference(stage.texts)  # it can still be trained


@pytest.fixture
def loaded(stage: MaskFinetune, monkeypatch: pytest.MonkeyPatch) -> None:
    """Any path holds the small stage."""
    monkeypatch.setattr(predictor_module, "load_stage", lambda path: stage)


@pytest.mark.usefixtures("loaded")
def test_naming_can_be_switched_with_a_warning_about_thresholds_of_another(
    stage: MaskFinetune, caplog: pytest.LogCaptureFixture
) -> None:
    stage.post_processing.calibrate(OperatingPoints(naming="softmax"))
    compete = load_predictor("RUN", device="cpu", naming="softmax").predict(pixels())
    assert not caplog.records
    alone = load_predictor("RUN", device="cpu", naming="independent").predict(pixels())
    assert not np.array_equal(compete.anomaly_map, alone.anomaly_map)
    assert "calibrate --naming independent" in caplog.text


@pytest.mark.usefixtures("loaded")
def test_thresholds_of_a_file_decide(tmp_path: Path) -> None:
    file, names = tmp_path / "mine.json", []
    for image_threshold in (0.0, 1.0):
        file.write_text(json.dumps({"pixel_threshold": 0.5, "image_threshold": image_threshold}))
        names.append(load_predictor("RUN", device="cpu", thresholds=file).predict(pixels()).name)
    assert names[0] != "good" and names[1] == "good"


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a baseline."""
    return write_run(tmp_path_factory.mktemp("run") / "one", "baselines/constant.yaml", {})


def test_run_directory_predicts_in_the_names_of_its_training(baseline: Path) -> None:
    result = load_predictor(baseline, device="cpu").predict(pixels())
    assert result.names == ("good", "crack", "stain")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"naming": "independent"}, "closed list"),
        ({"thresholds": "nowhere.json"}, "nowhere.json is missing"),
        ({"device": "toaster"}, "device 'toaster'"),
        ({"precision": "8"}, "expected 32, bf16, 16"),
        ({"path": "nowhere"}, "no checkpoint at nowhere"),
    ],
)
def test_settings_that_do_not_fit_are_refused(
    baseline: Path, settings: dict[str, str], words: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=words) as caught:
        load_predictor(**{"path": baseline, "device": "cpu"} | settings)
    assert "\n" not in str(caught.value)
