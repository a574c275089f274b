"""Claims about the comparison of runs."""

import csv
import math
from pathlib import Path

import pytest

from experiments.cli import call_command
from experiments.compare import compare
from experiments.run_logger import RunLogger
from experiments.tracking import initialise_tracking


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three tracked runs of one experiment, and three of two seeds in another."""
    folder = tmp_path_factory.mktemp("mlruns")
    initialise_tracking(folder)
    for name, iou in (("weak", 0.25), ("strong", 0.75), ("middle", 0.5)):
        logger = RunLogger(folder, "study", name, {})
        logger.log_metrics({"mask/test/iou_image": iou, "mask/val/iou_image": iou / 2})
        logger.close()
    for seed, iou in ((0, 0.9), (0, 0.4), (1, 0.6)):
        tags = {"seed": str(seed), "setting": "zero_shot", "dataset": "visa", "scale": "tiny"}
        logger = RunLogger(folder, "seeds", f"far_s{seed}", tags)
        logger.log_metrics({"mask/test/iou_image": iou})
        logger.close()
    return folder


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.mark.parametrize(
    ("words", "texts"),
    [
        (["--format", "markdown"], ["| metric | weak | strong | middle |", "| 0.2500 | 0.7500 |"]),
        (["--format", "csv"], ["metric,weak"]),
        (["--format", "latex"], [r"\begin{table}"]),
        (["--metric", "iou_image"], ["strong", "middle", "weak"]),
    ],
)
def test_runs_stand_side_by_side_or_below_each_other_by_a_metric(
    words: list[str], texts: list[str], output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call_command(compare, ["--experiment", "study", "--output", str(output), *words]) == 0
    printed = capsys.readouterr().out
    places = [printed.index(text) for text in texts]
    assert places == sorted(places)


def test_runs_without_a_number_come_last(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    initialise_tracking(tmp_path)
    for name, iou in (("low", 0.2), ("boxes", math.nan), ("high", 0.9)):
        logger = RunLogger(tmp_path, "study", name, {})
        logger.log_metrics({"mask/test/iou_image": iou})
        logger.close()
    words = ["--experiment=study", f"--output={tmp_path}", "--metric=iou_image", "--format=csv"]
    call_command(compare, words)
    lines = capsys.readouterr().out.splitlines()[1:]
    assert [line.split(",")[0] for line in lines] == ["high", "low", "boxes"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--experiment", "studdy"], r"'studdy' is not in .*; did you mean study\?"),
        (["--experiment", "study", "--metric", "test/iou_imag"], "did you mean mask/test/iou_im"),
        (["--experiment", "study", "--output", "none"], "run python -m"),
        (["--experiment", "seeds", "--out", "other"], "--out writes the paper's table: add"),
        (["--experiment", "seeds", "--paper", "--metric", "iou_image"], "leave one out"),
        (["--experiment", "study", "--format", "xml"], "--format: .*'xml' .*'rich'.*'latex'"),
    ],
)
def test_wrong_words_are_one_line(output: Path, words: list[str], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        call_command(compare, ["--output", str(output), *words])


def test_papers_table_joins_seeds_and_keeps_the_papers_rows_apart(
    output: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--experiment", "seeds", "--output", str(output), "--paper", "--format", "csv"]
    words += ["--out", str(tmp_path / "made")]
    assert call_command(compare, words) == 0
    lines = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    known = {"run": "far", "figure": "iou_image", "ours": "0.5", "setting": "zero_shot"}
    assert {key: lines[0][key] for key in known} == known
    assert lines[0]["95 % interval, or both seeds"] == "0.4000 and 0.6000"
    papers = {line["run"]: line for line in lines if line["paper"]}
    paper = papers["Table 6, mvtec_ad to visa"]
    assert (paper["ours"], paper["status"]) == ("", "paper only")
    assert not any("Table 5" in name for name in papers)
    made = {file.name for file in (tmp_path / "made").iterdir()}
    assert made >= {"compared.md", "compared.csv", "compared.tex", "iou_image.png", "results.json"}
    with pytest.raises(ValueError, match="is not empty: choose another --out"):
        call_command(compare, words)
