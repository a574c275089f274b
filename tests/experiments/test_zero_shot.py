"""Holds that CLIP runs without training, reads other words, and is refused without weights."""

from pathlib import Path

import pytest

from experiments.cli import call_command
from experiments.predictor import load_predictor
from experiments.run import run
from experiments.tracking import read_results, read_runs
from tests.experiments.refused import refused
from tests.experiments.small_run import words_of
from tests.experiments.test_good_parts import draw_folder
from tests.lightning_modules.small_weights import write_small_clip


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    parts = draw_folder(tmp_path / "parts", {"good": 10, "plain": 10, "striped": 10}, 0)
    own = {"output": tmp_path, "data.manifest_folder": tmp_path / "manifests", "root": parts}
    return ["--config", "baselines/clip_zero_shot.yaml", "--source=folder", *words_of(own)]


def test_clip_is_tested_as_it_is_and_predicts_in_other_words(
    tmp_path: Path, words: list[str]
) -> None:
    clip = write_small_clip(tmp_path / "clip")
    more = words_of({"model.pretrained": clip, "model.mode": "vv"})
    assert call_command(run, [*words, *more]) == 0
    [row] = read_runs(tmp_path, "paper")
    assert (row.tags["clip"], row.tags["clip_mode"]) == (str(clip), "vv")
    directory = tmp_path / "runs" / "clip_zero_shot"
    figures = read_results(directory)
    assert 0 <= figures["mask/test/image_auroc"] <= 1
    assert 0 <= figures["mask/test/type_accuracy"] <= 1
    predictor = load_predictor(directory)
    result = predictor.predict(
        next((tmp_path / "parts" / "images" / "plain").iterdir()), labels="crack; burr, fin"
    )
    assert result.names == ("good", "crack", "burr")
    assert result.image_score == pytest.approx(1 - result.type_scores[0])


def test_without_weights_the_run_is_refused_in_one_line(tmp_path: Path, words: list[str]) -> None:
    more = words_of({"model.pretrained": tmp_path / "none"})
    assert "expected a local folder or a reachable hub name" in refused(run, *words, *more)
