"""Holds what predict writes, for images of any kind, and what it refuses in one line."""

import csv
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import LightningModule
from PIL import Image
from pycocotools import mask as rle
from pycocotools.coco import COCO
from torch import Tensor

from datamodules.pictures.annotation import open_annotation
from datamodules.sample import Instance, Prediction
from datamodules.sources.coco import Coco
from datamodules.vocabulary import Vocabulary
from experiments import predict, predictor
from experiments.answering.picture_files import label_picture
from experiments.command import run_command
from lightning_modules.nets.post_processing import PostProcessing


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
    return predict.main(["--checkpoint", "RUN", "--images", str(images), "--out", str(out), *more])


def refusal(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that the command ends with; its exit code is 2."""
    with pytest.raises(SystemExit) as ending:
        run_command(lambda _: predict.main(list(arguments)))
    text = capsys.readouterr().err
    assert ending.value.code == 2
    assert text.startswith("error: ")
    assert text.count("\n") == 1
    return text


def test_images_of_every_mode_come_back_at_their_own_size(images: Path, tmp_path: Path) -> None:
    assert run(images, tmp_path / "out") == 0
    for kind in ("labels", "overlays"):
        names = sorted(p.relative_to(tmp_path / "out" / kind).as_posix()
                       for p in (tmp_path / "out" / kind).rglob("*.png"))  # fmt: skip
        assert names == ["alpha[1].png", "colour.png", "deep/wide.png", "good.png", "grey.png"]
        for name in names:
            assert Image.open(tmp_path / "out" / kind / name).size == (61, 40)


def test_label_map_holds_class_ids(images: Path, tmp_path: Path) -> None:
    run(images / "deep" / "wide.png", tmp_path / "out")
    ids = np.asarray(Image.open(tmp_path / "out" / "labels" / "wide.png"))
    assert set(np.unique(ids)) == {0, 1}
    assert (ids[10:20, 30:50] == 1).all()


def test_json_is_coco_with_masks_boxes_scores_and_names(images: Path, tmp_path: Path) -> None:
    run(images / "grey.png", tmp_path / "out", "--labels", "scratch, scuff; good")
    coco = COCO(tmp_path / "out" / "predictions.json")
    (one,) = coco.loadAnns(coco.getAnnIds())
    assert coco.loadCats([one["category_id"]])[0]["name"] == "scratch"
    assert one["bbox"] == [30, 10, 20, 10]
    assert one["score"] == pytest.approx(0.9)
    assert coco.annToMask(one).sum() == one["area"] == 200
    assert rle.toBbox(one["segmentation"]).tolist() == [30, 10, 20, 10]


def test_json_holds_the_answer_for_each_image(images: Path, tmp_path: Path) -> None:
    run(images, tmp_path / "out")
    content = json.loads((tmp_path / "out" / "predictions.json").read_text())
    answers = {Path(one["file_name"]).name: one["answer"] for one in content["images"]}
    assert answers["good.png"] == "good"
    assert answers["wide.png"] == "pit"
    assert [category["name"] for category in content["categories"]] == ["pit", "burr"]


def test_table_names_image_answer_and_defects(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(images, tmp_path / "out", "--labels", "crack; good")
    table = capsys.readouterr().out
    assert "alpha[1].png" in table
    assert "1 crack (0.90)" in table


def test_table_has_a_row_and_the_report_a_card_for_each_image(images: Path, tmp_path: Path) -> None:
    run(images, tmp_path / "out")
    report = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    with (tmp_path / "out" / "answers.csv").open(newline="", encoding="utf-8") as file:
        rows = [row["image"] for row in csv.DictReader(file)]
    assert rows == ["alpha[1].png", "colour.jpg", "deep/wide.png", "good.png", "grey.png"]
    assert re.findall(r"<figure data-image='([^']*)'", report) == rows


@pytest.mark.parametrize("tool", ["cvat", "label_studio"])
def test_tools_get_files_only_when_asked_for(tool: str, images: Path, tmp_path: Path) -> None:
    run(images / "grey.png", tmp_path / "plain")
    run(images / "grey.png", tmp_path / "asked", "--export", tool)
    names = [{path.name for path in (tmp_path / out).iterdir()} for out in ("plain", "asked")]
    assert names[1] - names[0] == {tool}


def test_answers_train_the_next_model_by_the_coco_source(images: Path, tmp_path: Path) -> None:
    run(images, tmp_path / "out", "--export", "cvat")
    root = tmp_path / "corrected"
    shutil.copytree(tmp_path / "out" / "cvat", root)
    shutil.copytree(images, root / "images")
    vocabulary = Vocabulary.from_names(["pit", "burr"])
    for record in Coco().records(root):
        name = Path(record.image).relative_to("images").with_suffix(".png")
        written = np.asarray(Image.open(tmp_path / "out" / "labels" / name))
        size_px = written.shape
        mask = open_annotation(record, root, vocabulary=vocabulary, picture_size_px=size_px)
        assert np.array_equal(mask, written)


def test_coco_file_of_answers_is_a_list_for_the_next_run(images: Path, tmp_path: Path) -> None:
    run(images, tmp_path / "first")
    listed = tmp_path / "first" / "predictions.json"
    assert run(listed, tmp_path / "second", "--root", str(images)) == 0
    texts = [(tmp_path / out / "answers.csv").read_text() for out in ("first", "second")]
    assert texts[0] == texts[1]


def test_originals_are_never_touched(images: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in images.rglob("*") if path.is_file()}
    run(images, tmp_path / "out", "--export", "cvat", "label_studio")
    assert before == {path: path.read_bytes() for path in images.rglob("*") if path.is_file()}


def test_glob_takes_what_it_matches(images: Path, tmp_path: Path) -> None:
    run(str(images / "g*.png"), tmp_path / "out")
    names = sorted(path.name for path in (tmp_path / "out" / "labels").iterdir())
    assert names == ["good.png", "grey.png"]


def test_images_that_share_a_name_do_not_overwrite_each_other(images: Path, tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(images / "grey.bmp")
    run(images, tmp_path / "out")
    names = {path.name for path in (tmp_path / "out" / "labels").iterdir()}
    assert {"grey.bmp.png", "grey.png.png", "good.png"} <= names


def test_single_file_with_a_glob_sign_in_its_name_is_found(images: Path) -> None:
    assert predict.find_images(str(images / "alpha[1].png")) == {
        "alpha[1]": images / "alpha[1].png"
    }


def test_classes_beyond_a_palette_are_sixteen_bit() -> None:
    ids = np.array([[0, 300]])
    assert np.array_equal(np.asarray(label_picture(ids, 301)), ids)


@pytest.mark.parametrize("missing", ["nowhere", "empty", "empty/*.png"])
def test_no_images_are_refused(
    missing: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    given = ["--checkpoint", "C", "--images", f"{tmp_path}/{missing}", "--out", f"{tmp_path}/out"]
    assert "no image" in refusal(capsys, *given)


def test_an_unreadable_image_leaves_nothing_behind(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = (images / "grey.png").read_bytes()
    (images / "zz.png").write_bytes(whole[: len(whole) // 2])
    before = sorted(tmp_path.iterdir())
    given = ["--checkpoint", "C", "--images", str(images), "--out", str(tmp_path / "out")]
    assert "zz.png" in refusal(capsys, *given)
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize("labels", ["", "crack;;hole", "crack; crack", "good"])
def test_labels_outside_the_grammar_are_refused(
    labels: str, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--checkpoint", "C", "--images", str(images), "--out", str(tmp_path / "out")]
    refusal(capsys, *given, f"--labels={labels}")
    assert not (tmp_path / "out").exists()


def test_a_full_output_folder_is_kept(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    run(images / "good.png", out)
    given = ["--checkpoint", "C", "--images", str(images / "grey.png"), "--out", str(out)]
    assert "--overwrite" in refusal(capsys, *given)
    assert predict.main([*given, "--overwrite"]) == 0
    assert [path.name for path in (out / "labels").iterdir()] == ["grey.png"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["images", "out"]


def test_overwrite_never_takes_a_folder_with_foreign_files(
    images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--checkpoint", "C", "--images", str(images), "--out", str(images), "--overwrite"]
    assert "not overwritten" in refusal(capsys, *given)
    assert (images / "grey.png").is_file()


def test_an_output_that_cannot_be_written_is_refused(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = images / "grey.png" / "out"
    given = ["--checkpoint", "C", "--images", str(images), "--out", str(out)]
    assert "cannot be written" in refusal(capsys, *given)


def test_an_unknown_device_is_refused(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--checkpoint", "C", "--images", str(images), "--out", str(tmp_path / "out")]
    assert "--device cpu" in refusal(capsys, *given, "--device", "toaster")


def test_an_unknown_argument_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--checkpoint", "C", "--images", "I", "--out", "O", "--label", "crack"]
    assert "label" in refusal(capsys, *given)
