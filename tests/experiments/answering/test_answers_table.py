"""The table of answers reads back as it was written, and names its images for the next run."""

import csv
from pathlib import Path

from PIL import Image

from experiments.answering.answers_table import AnswersTable
from experiments.answering.inputs import find_images
from tests.experiments.answering.small_answers import GOOD_PART, RING, asked


def write(folder: Path) -> Path:
    table = AnswersTable(folder / "answers.csv")
    table.add(asked('deep/a, "b".png'), RING)
    table.add(asked("good.png"), GOOD_PART)
    table.close()
    return folder / "answers.csv"


def test_rows_hold_answer_scores_and_defects(tmp_path: Path) -> None:
    with write(tmp_path).open(newline="", encoding="utf-8") as file:
        ring, good = csv.DictReader(file)
    assert list(ring.values()) == [
        'deep/a, "b".png',
        "pit",
        "0.9000",
        "0",
        "1 pit; 1 burr",
        "0.8000",
    ]
    assert list(good.values()) == ["good.png", "good", "0.1000", "0", "", ""]


def test_table_is_a_list_of_images(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ('deep/a, "b".png', "good.png"):
        Image.new("L", (8, 8)).save(tmp_path / name)
    assert list(find_images(str(write(tmp_path)))) == ['deep/a, "b"', "good"]
