"""Holds what predict writes, for images of any kind, and what it refuses in one line."""

import csv
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import LightningModule
from PIL import Image
from pycocotools.coco import COCO
from torch import Tensor

from datamodules.annotation import open_annotation
from datamodules.sample import Instance, Prediction
from datamodules.sources.coco import Coco
from datamodules.vocabulary import Vocabulary
from experiments import predictor
from experiments.cli import call_command
from experiments.predict import ENTRIES, predict
from lightning_modules.nets.post_processing import PostProcessing
from tests.experiments.refused import refused


class FindsBrightPixels(LightningModule):
    """Stands for a trained stage: pixels over three quarters of full brightness are class 1."""

    def __init__(self) -> None:
        super().__init__()
        self.vocabulary = Vocabulary.from_names(["pit", "burr"])
        self.post_processing, self.naming = PostProcessing(), ""

    def set_vocabulary(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

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


@pytest.fixture(autouse=True)
def stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predictor, "load_stage", lambda checkpoint: FindsBrightPixels())


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with one image of each mode, each with a bright patch but the good one."""
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


def test_images_of_every_mode_come_back_at_their_own_size(images: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in images.rglob("*.*")}
    assert run(images, tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(ENTRIES[:5])
    for kind in ("labels", "overlays"):
        names = files_in(tmp_path / "out" / kind)
        assert names == ["alpha[1].png", "colour.png", "deep/wide.png", "good.png", "grey.png"]
        for name in names:
            assert Image.open(tmp_path / "out" / kind / name).size == (61, 40)
    ids = np.asarray(Image.open(tmp_path / "out" / "labels" / "deep" / "wide.png"))
    assert set(np.unique(ids)) == {0, 1} and (ids[10:20, 30:50] == 1).all()
    assert before == {path: path.read_bytes() for path in images.rglob("*.*")}


def test_json_is_coco_with_masks_boxes_scores_and_names(images: Path, tmp_path: Path) -> None:
    run(images / "grey.png", tmp_path / "out", "--labels", "scratch, scuff; good")
    coco = COCO(tmp_path / "out" / "predictions.json")
    (one,) = coco.loadAnns(coco.getAnnIds())
    assert coco.loadCats([one["category_id"]])[0]["name"] == "scratch"
    assert (one["bbox"], one["score"]) == ([30, 10, 20, 10], pytest.approx(0.9))
    assert coco.annToMask(one).sum() == one["area"] == 200


def test_terminal_table_and_report_have_a_row_for_each_image(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(images, tmp_path / "out", "--labels", "crack; good")
    printed = capsys.readouterr().out
    assert "alpha[1].png" in printed and "1 crack" in printed
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    with (tmp_path / "out" / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = {row["image"]: row["answer"] for row in csv.DictReader(file)}
    assert list(rows) == ["alpha[1].png", "colour.jpg", "deep/wide.png", "good.png", "grey.png"]
    assert rows["good.png"] == "good" and rows["deep/wide.png"] == "crack"
    assert re.findall(r"<figure data-image='([^']*)'", report) == list(rows)


def test_results_train_the_next_model_by_the_coco_source(images: Path, tmp_path: Path) -> None:
    run(images, tmp_path / "out", "--export", "cvat", "label_studio")
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


def test_coco_file_of_results_is_a_list_for_the_next_run(images: Path, tmp_path: Path) -> None:
    run(images, tmp_path / "first")
    listed = tmp_path / "first" / "predictions.json"
    assert run(listed, tmp_path / "second", "--root", str(images)) == 0
    texts = [(tmp_path / out / "answers.csv").read_text() for out in ("first", "second")]
    assert texts[0] == texts[1]


def test_an_earlier_output_is_replaced_only_when_asked(images: Path, tmp_path: Path) -> None:
    run(images / "good.png", tmp_path / "out")
    given = ("--checkpoint", "C", "--images", images / "grey.png", "--out", tmp_path / "out")
    assert "--overwrite" in refused(predict, *given)
    assert run(images / "grey.png", tmp_path / "out", "--overwrite") == 0
    assert files_in(tmp_path / "out" / "labels") == ["grey.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--images", "{images}/nowhere"], "no image"),
        (["--images", "{images}/cut.png"], "cut.png"),
        (["--labels="], "expected"),
        (["--labels=crack;;hole"], "expected"),
        (["--labels=crack; crack"], "expected"),
        (["--labels=good"], "expected"),
        (["--device=toaster"], "--device cpu"),
        (["--label=crack"], "did you mean --labels"),
        (["--naming=soft"], "invalid choice: 'soft'"),
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
