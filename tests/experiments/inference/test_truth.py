"""Holds what predict prints of labelled images: how often each name is right, and its refusal."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.manifest import write_manifest
from datamodules.sources.folder import Folder
from experiments import predictor
from experiments.cli import call_command
from experiments.predict import predict
from tests.experiments.refused import refused
from tests.experiments.test_predict import FindsBrightPixels

# Of each image: its name, how bright its defect is, and whether a mask shows it.
IMAGES = [("pit", 250), ("pit", 100), ("burr", 250), ("good", 60), ("good", 60)]


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two pits, of which one is too dark to be found, a burr, and two good parts, with masks."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(predictor, "load_stage", lambda checkpoint: FindsBrightPixels())
    for index, (name, brightness) in enumerate(IMAGES):
        pixels = np.full((40, 61, 3), 60, dtype=np.uint8)
        mask = np.zeros((40, 61), dtype=np.uint8)
        if name != "good":
            pixels[10:20, 30:50], mask[12:22, 30:50] = brightness, 255
        for kind, content in (("images", pixels), ("masks", mask)):
            folder = tmp_path / "parts" / kind / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.fromarray(content).save(folder / f"{index}.png")
    return tmp_path / "parts"


def run(truth: Path, images: Path, *more: str) -> int:
    out = images.parent.parent / "out"
    words = ["--checkpoint", "RUN", "--images", str(images), "--out", str(out), "--device", "cpu"]
    return call_command(predict, [*words, "--truth", str(truth), *more])


def rows_of(printed: str) -> dict[str, list[str]]:
    """The cells of the printed table's rows, by the name that is shown."""
    lines = [line.split("│") for line in printed.splitlines() if line.startswith("│")]
    return {cells[1].strip(): [cell.strip() for cell in cells[2:-1]] for cells in lines}


def test_answers_and_found_defects_are_counted_by_the_true_name(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(parts, parts / "images") == 0
    rows = rows_of(capsys.readouterr().out)
    assert list(rows) == ["good", "burr", "pit", "all"]
    assert rows["good"] == ["2", "1.00 (2/2)", "0", "-", "-", "-"]
    assert rows["pit"] == ["2", "0.50 (1/2)", "2", "0.50 (1/2)", "1.00 (1/1)", "-"]
    assert rows["burr"] == ["1", "0.00 (0/1)", "1", "1.00 (1/1)", "0.00 (0/1)", "pit 1"]
    assert rows["all"] == ["5", "0.60 (3/5)", "3", "0.67 (2/3)", "0.50 (1/2)", "-"]


def test_another_word_of_the_true_name_is_right(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(parts, parts / "images", "--labels", "corrosion pit; scab") == 0
    rows = rows_of(capsys.readouterr().out)
    assert rows["pit (corrosion pit)"][1] == "0.50 (1/2)"
    assert rows["burr"][-1] == "corrosion pit 1"


def test_an_answer_without_a_name_is_right_of_any_defect(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(parts, parts / "images", "--labels", "defect") == 0
    rows = rows_of(capsys.readouterr().out)
    assert rows["burr"][1] == "1.00 (1/1)" and rows["burr"][4] == "1.00 (1/1)"
    assert rows["pit"][1] == "0.50 (1/2)" and rows["good"][1] == "1.00 (2/2)"


def test_a_manifest_is_a_truth_and_images_without_truth_are_said(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = Folder()
    records = source.records(parts)
    vocabulary = source.vocabulary(records)
    kept = [record for record in records if record.defects]
    file = parts / "manifest.parquet"
    write_manifest(file, kept, root=parts, vocabulary=vocabulary, source="folder")
    assert run(file, parts / "images") == 0
    printed = capsys.readouterr()
    assert rows_of(printed.out)["all"][0] == "3"
    assert f"2 of 5 images are not in --truth {file}" in printed.err


def test_truth_of_other_images_is_refused(parts: Path, tmp_path: Path) -> None:
    other = tmp_path / "more" / "images"
    other.mkdir(parents=True)
    Image.fromarray(np.zeros((40, 40), dtype=np.uint8)).save(other / "other.png")
    words = ["--checkpoint", "RUN", "--images", other, "--out", tmp_path / "out"]
    line = refused(predict, *words, "--truth", parts)
    assert line.startswith("--truth") and "tells of 5 images" in line
    image = other / "other.png"
    line = refused(predict, *words, "--truth", image)
    assert line.startswith(f"--truth {image}: a file that is no manifest.parquet: give a folder")


def test_masks_that_may_lie_otherwise_than_their_photo_are_not_counted(
    parts: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    upside_down = Image.Exif()
    upside_down[0x0112] = 3
    turned = parts / "images" / "burr" / "2.png"
    with Image.open(turned) as image:
        pixels = np.asarray(image)
    Image.fromarray(pixels).save(turned.with_suffix(".jpg"), exif=upside_down, quality=95)
    turned.unlink()
    wrong = parts / "masks" / "pit" / "0.png"
    Image.fromarray(np.zeros((20, 20), dtype=np.uint8)).save(wrong)
    assert run(parts, parts / "images") == 0
    printed = capsys.readouterr()
    assert "--truth is not counted of images/pit/0.png: " in printed.err
    assert "--truth is not counted of images/burr/2.jpg: " in printed.err
    assert "turned by EXIF orientation 3" in printed.err
    assert rows_of(printed.out)["all"][0] == "3"
