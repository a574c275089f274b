"""Holds that a student's files answer as the student does, and what is refused."""

import csv
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import parity
from experiments.checkpoints import load_any
from experiments.cli import call_command
from experiments.export import export
from experiments.exporting import card_of, check_student, images_of, write_files
from experiments.inference.exported_model import open_exported
from experiments.parity import LIKE_IOU, TOLERANCES, like_pairs, measure_parity
from experiments.predict import predict
from experiments.predictor import load_predictor
from experiments.run import run
from tests.experiments.refused import refused
from tests.experiments.small_run import words_of
from tests.experiments.small_stages import write_run

pytest.importorskip("onnxruntime")
pytest.importorskip("openvino")
SMALL = {
    "model.encoder_name": "tu-tf_efficientnet_lite0",
    "model.weights": "",
    "model.decoder_channels": "[16, 8]",
    "model.window_px": 64,
    "model.tile_px": 96,
    "model.tile_overlap_px": 32,
    "source": "synthetic",
    "source.image_count": 48,
    "source.image_size_px": 72,
    "data.batch_size": 4,
    "data.draws_per_epoch": 16,
    "data.train_transform.crop_size_px": 64,
    "trainer.max_epochs": 1,
    "trainer.limit_val_batches": 3,
    "trainer.limit_test_batches": 6,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the run of a student, `run`, of an untrained `teacher`, and its `release`."""
    folder = tmp_path_factory.mktemp("student")
    words = {"model.init_args.pretrained": "random", "model.init_args.tile_px": "64"}
    write_run(folder / "teacher", "stage2_tiny.yaml", words)
    places = {"root": folder / "data", "data.manifest_folder": folder, "output": folder}
    settings = {**SMALL, **places, "teacher": folder / "teacher"}
    assert call_command(run, ["--config", "student.yaml", *words_of(settings)]) == 0
    (folder / "runs" / "student").rename(folder / "run")
    released = ["--checkpoint", str(folder / "run"), "--out", str(folder / "release")]
    call_command(export, [*released, "--to", "onnx", "openvino"])
    return folder


@pytest.fixture(scope="module")
def release(folder: Path) -> Path:
    return folder / "release"


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of three sizes: of a few pixels, of the training, and of several tiles."""
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for width, height in ((3, 1), (70, 66), (250, 120)):
        pixels = random.integers(0, 256, (height // 8 + 1, width // 8 + 1, 3), dtype=np.uint8)
        Image.fromarray(pixels).resize((width, height)).save(folder / f"{width}.png")
    return folder


def test_a_student_is_trained_tested_and_knows_its_teacher(folder: Path) -> None:
    results = json.loads((folder / "run" / "results.json").read_text())
    assert {"mask/test/iou_image", "mask/train/loss_maps", "mask/train/loss_labels"} <= set(results)
    assert (folder / "run" / "thresholds.json").is_file()
    assert "teacher: " in (folder / "run" / "config.yaml").read_text()


def test_a_release_holds_the_files_and_how_far_their_answers_are(release: Path) -> None:
    proof = json.loads((release / "parity.json").read_text())
    assert proof["images"] == 11 and set(proof["formats"]) == {"onnx", "openvino"}
    for stages in proof["formats"].values():
        assert set(stages) == set(TOLERANCES)
        assert all(one["difference"] <= one["tolerance"] for one in stages.values())
    card = (release / "README.md").read_text()
    assert "`model.onnx`, `model.xml`" in card and "label map, share of an image" in card
    assert load_predictor(release).vocabulary == load_predictor(release / "model.xml").vocabulary


@pytest.mark.parametrize("file", ["model.onnx", "model.xml"])
def test_predict_finds_the_same_from_a_file(
    file: str, folder: Path, images: Path, tmp_path: Path
) -> None:
    answers = []
    for name, place in (("torch", folder / "run"), ("file", folder / "release" / file)):
        words = ["--checkpoint", str(place), "--images", str(images), "--out", str(tmp_path / name)]
        assert call_command(predict, words) == 0
        rows = list(csv.DictReader((tmp_path / name / "answers.csv").open()))
        found = json.loads((tmp_path / name / "predictions.json").read_text())
        answers.append((rows, found))
        assert (tmp_path / name / "report.html").is_file()
    (right, right_coco), (rows, coco) = answers
    for one, other in zip(right, rows, strict=True):
        assert (one["image"], one["answer"]) == (other["image"], other["answer"])
        assert float(one["image_score"]) == pytest.approx(float(other["image_score"]), abs=2e-4)
    assert coco["categories"] == right_coco["categories"]
    regions = [[one["bbox"] for one in each["annotations"]] for each in (coco, right_coco)]
    assert regions[0] == regions[1]


def test_images_of_several_tiles_are_scored_alike(folder: Path) -> None:
    student = load_any(folder / "run").model
    image = torch.rand(3, 130, 200, generator=torch.Generator().manual_seed(0)) * 2 - 1
    image = (image * 127.5).round() / 127.5
    with torch.inference_mode():
        (right,) = student.image_scores([image])
        (found,) = open_exported(folder / "release" / "model.onnx").image_scores([image])
    assert found.anomaly_map.shape == (130, 200)
    assert torch.allclose(found.anomaly_map, right.anomaly_map, atol=0.02)


def test_8_bits_are_near_and_smaller(folder: Path, tmp_path: Path) -> None:
    restored = load_any(folder / "run")
    student, formats = check_student(restored, ("onnx", "openvino")), ("onnx", "openvino")
    some = images_of(restored.data, "train", 4, "")
    card = card_of(student, restored)
    files = write_files(tmp_path, student, card, formats, calibrate_on=some)
    assert set(files) == {"onnx", "openvino", "onnx int8"}
    sizes = {one: file.stat().st_size for one, file in files.items()}
    assert sizes["onnx int8"] < 0.5 * sizes["onnx"]
    few = images_of(restored.data, "test", 3, "")
    found, count = measure_parity(student, files, few)
    assert count == 3
    means = {one: stages["pixel score, mean of an image"] for one, stages in found.items()}
    assert means["onnx"] < 1e-5 < means["onnx int8"] < 0.05


def test_a_file_that_answers_otherwise_is_not_written(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(parity.TOLERANCES, "type score", (-1.0, -1.0))
    words = ["--checkpoint", folder / "run", "--out", tmp_path / "out", "--to", "onnx"]
    line = refused(export, *words)
    assert line.startswith("onnx is not written: type score differs by")
    assert not list(tmp_path.iterdir())


def test_regions_are_alike_by_name_and_place(folder: Path, images: Path) -> None:
    model = load_any(folder / "run").model
    model.post_processing.calibrate(parity_points())
    with torch.inference_mode():
        (found,) = model.predict_images([torch.zeros(3, 72, 72)])
    assert found.instances and like_pairs(found.instances, found.instances) == len(found.instances)
    assert like_pairs(found.instances, []) == 0 and LIKE_IOU > 0.5


def parity_points() -> object:
    """Thresholds at which everything is a region."""
    from lightning_modules.nets.post_processing import OperatingPoints, TypeThresholds

    return OperatingPoints(TypeThresholds(0.01), image=0.01)


def half(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def changed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def foreign(file: Path) -> None:
    from onnx import TensorProto, helper, save

    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in "xy"]
    graph = helper.make_graph([helper.make_node("Abs", ["x"], ["y"])], "g", values[:1], values[1:])
    save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), file)


def without_weights(file: Path) -> None:
    file.with_suffix(".bin").unlink()


def half_weights(file: Path) -> None:
    half(file.with_suffix(".bin"))


@pytest.mark.parametrize(
    ("name", "spoil", "line"),
    [
        ("model.onnx", half, "can't be opened"),
        ("model.onnx", changed, "has changed since it was written"),
        ("model.onnx", foreign, "is an ONNX file of somebody else: expected what python -m"),
        ("model.onnx", Path.unlink, "is missing: expected an exported"),
        ("model.xml", half, "can't be opened"),
        ("model.xml", without_weights, "model.bin is missing: expected it beside model.xml"),
        ("model.xml", half_weights, "model.xml"),
    ],
)
def test_a_file_that_is_none_of_ours_or_not_whole_is_refused(
    name: str, spoil: Callable[[Path], None], line: str, release: Path, images: Path, tmp_path: Path
) -> None:
    for part in ("model.onnx", "model.xml", "model.bin"):
        shutil.copy(release / part, tmp_path / part)
    spoil(tmp_path / name)
    words = ["--checkpoint", tmp_path / name, "--images", images, "--out", tmp_path / "out"]
    assert line in refused(predict, *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--labels", "dent; rust"], "closed list"),
        (["--precision", "bf16"], "an exported file has its own: leave --precision out"),
        (["--device", "cuda"], "model.onnx runs on the CPU"),
        (["--naming", "softmax"], "leave naming out"),
    ],
)
def test_what_a_file_can_not_do_is_refused(
    more: list[str], line: str, release: Path, images: Path, tmp_path: Path
) -> None:
    words = ["--checkpoint", release / "model.onnx", "--images", images, "--out", tmp_path / "out"]
    assert line in refused(predict, *words, *more)


def test_what_can_not_be_exported_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = ["--out", tmp_path / "out"]
    teacher, student = (["--checkpoint", folder / name] for name in ("teacher", "run"))
    assert "expected a student" in refused(export, *teacher, *out, "--to", "onnx")
    for more in ([], ["--to", "openvino"]):
        assert "add --to onnx" in refused(export, *student, *out, "--int8", *more)
    lost = refused(export, *student, *out, "--to", "onnx", "--parity_images", tmp_path / "none")
    assert "none" in lost
    monkeypatch.setitem(sys.modules, "openvino", None)
    line = refused(export, *student, *out, "--to", "openvino")
    assert line.endswith("pip install '.[openvino]' in the repository")
    assert not (tmp_path / "out").exists()
