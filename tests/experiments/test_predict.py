"""Holds what predict writes and refuses, and the Python door: any image, in any words."""

import copy
import csv
import json
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import LightningModule
from PIL import Image
from torch import Tensor

from datamodules.annotation import open_annotation
from datamodules.sample import Instance, Prediction
from datamodules.sources.coco import Coco
from datamodules.vocabulary import Vocabulary
from experiments import predictor
from experiments.cli import call_command
from experiments.predict import ENTRIES, predict
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
from lightning_modules.nets.post_processing import OperatingPoints, PostProcessing
from tests.experiments.refused import refused
from tests.experiments.small_stages import write_run
from tests.lightning_modules.small_parts import small_finetune


class FindsBrightPixels(LightningModule):
    """Stands for a trained stage: pixels over three quarters of full brightness are class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.vocabulary = Vocabulary.from_names(["pit", "burr"])
        self.post_processing, self.naming, self.shapes_examples = PostProcessing(), "", False

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def look_at(self, images: Iterable[Tensor]) -> None:
        """Scores each image alone."""

    def predict_image(self, image: Tensor) -> Prediction:
        found = image.mean(dim=0) > 0.5
        instances = []
        if found.any():
            rows, columns = torch.nonzero(found, as_tuple=True)
            x, y = int(columns.min()), int(rows.min())
            box = (x, y, int(columns.max()) - x + 1, int(rows.max()) - y + 1)
            instances = [Instance(1, 0.9, found, box)]
        return Prediction(
            label_map=found.long(),
            anomaly_map=found.float(),
            image_score=float(found.any()),
            type_scores=torch.ones(len(self.vocabulary)) / len(self.vocabulary),
            type_id=int(found.any()),
            type_map=torch.ones_like(found, dtype=torch.int64),
            instances=instances,
        )


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one image of each mode, each with a bright patch but the good one."""
    monkeypatch.setattr(predictor, "load_stage", lambda checkpoint: FindsBrightPixels())
    folder = tmp_path / "images"
    (folder / "deep").mkdir(parents=True)
    grey = np.full((40, 61), 60, dtype=np.uint8)
    Image.fromarray(grey).save(folder / "good.png")
    grey[10:20, 30:50] = 250
    Image.fromarray(grey).save(folder / "grey.png")
    Image.fromarray(grey).convert("RGB").save(folder / "colour.jpg", quality=95)
    Image.fromarray(grey).convert("RGBA").save(folder / "alpha[1].png")
    Image.fromarray(grey.astype(np.uint16) * 256).save(folder / "deep" / "wide.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def run(images: Path | str, out: Path, *more: str) -> int:
    words = ["--checkpoint", "RUN", "--images", str(images), "--out", str(out), "--device", "cpu"]
    return call_command(predict, [*words, *more])


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_images_of_every_mode_come_back_at_their_own_size_with_a_row_each(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {path: path.read_bytes() for path in images.rglob("*.*")}
    assert run(images, tmp_path / "out", "--labels", "crack; good") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(ENTRIES[:5])
    for kind in ("labels", "overlays"):
        names = files_in(tmp_path / "out" / kind)
        assert names == ["alpha[1].png", "colour.png", "deep/wide.png", "good.png", "grey.png"]
        for name in names:
            assert Image.open(tmp_path / "out" / kind / name).size == (61, 40)
    ids = np.asarray(Image.open(tmp_path / "out" / "labels" / "deep" / "wide.png"))
    assert set(np.unique(ids)) == {0, 1} and (ids[10:20, 30:50] == 1).all()
    assert before == {path: path.read_bytes() for path in images.rglob("*.*")}
    printed = capsys.readouterr().out
    assert "alpha[1].png" in printed and "1 crack" in printed
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    with (tmp_path / "out" / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["image"]: row["answer"] for row in csv.DictReader(file)}
    assert list(rows) == ["alpha[1].png", "colour.jpg", "deep/wide.png", "good.png", "grey.png"]
    assert rows["good.png"] == "good" and rows["deep/wide.png"] == "crack"
    assert re.findall(r"<figure data-image='([^']*)'", report) == list(rows)


def test_results_train_the_next_model_and_are_a_list_for_the_next_run(
    images: Path, tmp_path: Path
) -> None:
    run(images, tmp_path / "out", "--export", "cvat", "label_studio")
    listed = tmp_path / "out" / "predictions.json"
    assert run(listed, tmp_path / "second", "--root", str(images)) == 0
    texts = [(tmp_path / out / "answers.csv").read_text() for out in ("out", "second")]
    assert texts[0] == texts[1]
    assert files_in(tmp_path / "out" / "label_studio") == ["interface.xml", "tasks.json"]
    root = tmp_path / "corrected"
    shutil.copytree(tmp_path / "out" / "cvat", root)
    shutil.copytree(images, root / "images")
    vocabulary = Vocabulary.from_names(["pit", "burr"])
    for record in Coco().records(root):
        name = Path(record.image).relative_to("images").with_suffix(".png")
        written = np.asarray(Image.open(tmp_path / "out" / "labels" / name))
        size_px = written.shape
        mask = open_annotation(record, root, vocabulary=vocabulary, image_size_px=size_px)
        assert np.array_equal(mask, written)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--images", "{images}/nowhere"], "no image"),
        (["--images", "{images}/cut.png"], "cut.png"),
        (["--labels=crack;;hole"], "expected"),
        (["--device=toaster"], "--device cpu"),
        (["--label=crack"], "did you mean --labels"),
        (["--naming=soft"], "invalid choice: 'soft'"),
        (["--out={images}"], "--overwrite"),
        (["--out={images}", "--overwrite"], "not overwritten"),
        (["--out={images}/grey.png"], "is a file"),
        (["--out={images}/grey.png/out"], "cannot write to"),
        (["--images={images}/out/a.png", "--out={images}/out", "--overwrite"], "not overwritten"),
    ],
)
def test_what_cannot_be_is_one_line_and_leaves_nothing_behind(
    words: list[str], line: str, images: Path, tmp_path: Path
) -> None:
    whole = (images / "grey.png").read_bytes()
    (images / "cut.png").write_bytes(whole[: len(whole) // 2])
    (images / "out").mkdir()
    (images / "out" / "a.png").write_bytes(whole)
    before = files_in(tmp_path)
    given = ["--checkpoint", "C", "--images", images, "--out", tmp_path / "out"]
    assert line in refused(predict, *given, *(word.format(images=images) for word in words))
    assert files_in(tmp_path) == before


@pytest.fixture
def stage(seed: int) -> MaskFinetune:
    return small_finetune().eval()


def pixels(height: int = 70, width: int = 90) -> np.ndarray:
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (height, width, 3), dtype=np.uint8)


def test_result_has_the_size_of_the_image_and_names_of_the_list(stage: MaskFinetune) -> None:
    result = Predictor(stage).predict(pixels(), labels=["pit", ["burr", "nick"]])
    assert result.names == ("good", "pit", "burr")
    for array in (result.label_map, result.anomaly_map):
        assert array.shape == (70, 90)
    assert result.name in result.names
    assert result.type_scores.sum() == pytest.approx(1, abs=1e-5)
    assert {one.name for one in result.instances} <= {"pit", "burr"}
    assert result.draw().shape == (70, 90, 3)
    assert np.array_equal(result.image, pixels())


def test_path_pillow_image_and_array_are_one_image(tmp_path: Path) -> None:
    image = Image.fromarray(pixels())
    image.save(tmp_path / "a.png")
    for kind in (tmp_path / "a.png", str(tmp_path / "a.png"), image, pixels()):
        assert np.array_equal(read_pixels(kind), pixels())


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


def test_pillow_image_is_read_as_its_file_would_be(tmp_path: Path) -> None:
    for mode in ("L", "1", "P", "LA", "RGBA", "CMYK"):
        image = Image.fromarray(pixels()).convert(mode)
        image.save(tmp_path / "a.tif")
        assert np.array_equal(read_pixels(image), read_pixels(tmp_path / "a.tif")), mode


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


def test_lists_and_typed_labels_are_one_grammar() -> None:
    for labels in (["crack", "scratch, scuff"], ["crack", ["scratch", "scuff"]]):
        assert read_labels(labels) == read_labels("crack; scratch, scuff")
    for wrong in ([], [""], "", ["crack; pit"], ["crack", "crack"], ["good"], "good"):
        with pytest.raises(ValueError, match="expected"):
            read_labels(wrong)


def test_labels_are_embedded_only_when_they_change_and_those_of_the_training_come_back(
    stage: MaskFinetune, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, embed = [], stage.set_vocabulary
    monkeypatch.setattr(stage, "set_vocabulary", lambda words: (seen.append(words), embed(words)))
    lists: list[Labels | None] = [None, ["pit"], "pit", [["pit"]], ["pit", "burr"], None]
    door = Predictor(stage)
    results = [door.predict(pixels(), labels) for labels in lists]
    assert [words.names[1:] for words in seen] == [("pit",), ("pit", "burr"), ("crack", "stain")]
    assert np.array_equal(results[0].anomaly_map, results[-1].anomaly_map)
    assert not torch.is_inference(stage.texts)  # it can still be trained
    door.use_labels("pit; burr")
    lists = [None, "crack", None]
    names = [door.predict(pixels(), labels).names for labels in lists]
    assert names == [("good", "pit", "burr"), ("good", "crack"), ("good", "pit", "burr")]


def test_naming_can_be_switched_with_a_warning_and_thresholds_of_a_file_decide(
    stage: MaskFinetune,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(predictor, "load_stage", lambda path: stage)
    stage.post_processing.calibrate(OperatingPoints(naming="softmax"))
    compete = load_predictor("RUN", device="cpu", naming="softmax").predict(pixels())
    assert not caplog.records
    alone = load_predictor("RUN", device="cpu", naming="independent").predict(pixels())
    assert not np.array_equal(compete.anomaly_map, alone.anomaly_map)
    assert "calibrate --naming independent" in caplog.text
    file, names = tmp_path / "mine.json", []
    for image_threshold in (0.0, 1.0):
        file.write_text(json.dumps({"pixel_threshold": 0.5, "image_threshold": image_threshold}))
        names.append(load_predictor("RUN", device="cpu", thresholds=file).predict(pixels()).name)
    assert names[0] != "good" and names[1] == "good"


@pytest.fixture(scope="module")
def baseline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a baseline."""
    return write_run(tmp_path_factory.mktemp("run") / "one", "baselines/constant.yaml", {})


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
    result = load_predictor(baseline, device="cpu").predict(pixels())
    assert result.names == ("good", "crack", "stain")
