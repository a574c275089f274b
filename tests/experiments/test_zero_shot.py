"""Holds that what needs no training runs, reads other words, and is refused without weights."""

from pathlib import Path

import pytest

from experiments.cli import call_command
from experiments.predictor import load_predictor
from experiments.run import run
from experiments.seen_images import runs_named
from experiments.tracking import read_results, read_runs
from tests.experiments.refused import refused
from tests.experiments.small_run import words_of
from tests.experiments.test_good_parts import draw_folder
from tests.lightning_modules.small_weights import write_small_clip, write_small_qwen


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    """Whose images are seen and where all goes."""
    parts = draw_folder(tmp_path / "parts", {"good": 10, "plain": 10, "striped": 10}, 0)
    own = {"output": tmp_path, "data.manifest_folder": tmp_path / "manifests", "root": parts}
    return ["--source=folder", *words_of(own)]


def test_clip_is_tested_as_it_is_and_predicts_in_other_words(
    tmp_path: Path, words: list[str]
) -> None:
    clip = write_small_clip(tmp_path / "clip")
    more = words_of({"model.pretrained": clip, "model.mode": "vv"})
    assert call_command(run, ["--config", "baselines/clip_zero_shot.yaml", *words, *more]) == 0
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


def test_vision_language_model_is_tested_as_it_is_and_predicts_in_other_words(
    tmp_path: Path, words: list[str]
) -> None:
    qwen = write_small_qwen(tmp_path / "qwen")
    more = words_of({"model.pretrained": qwen, "model.most_tokens": 8})
    assert call_command(run, ["--config", "baselines/qwen_vl.yaml", *words, *more]) == 0
    [row] = read_runs(tmp_path, "paper")
    assert (row.tags["vision_language"], row.tags["coordinates"]) == (str(qwen), "rel1000")
    directory = tmp_path / "runs" / "qwen_vl"
    figures = read_results(directory)
    # What is random says nothing that can be read, of any of the images.
    assert figures["mask/test/parse_failures"] == 6
    assert figures["mask/test/iou_image"] == 0
    image = next((tmp_path / "parts" / "images" / "plain").iterdir())
    result = load_predictor(directory).predict(image, labels="crack; burr, fin")
    assert result.names == ("good", "crack", "burr") and result.name == "good"


@pytest.mark.parametrize("config", ["clip_zero_shot", "qwen_vl", "prompt_ad"])
def test_without_weights_the_run_is_refused_in_one_line(
    config: str, tmp_path: Path, words: list[str]
) -> None:
    more = words_of({"model.pretrained": tmp_path / "none"})
    said = refused(run, "--config", f"baselines/{config}.yaml", *words, *more)
    assert "expected a local folder or a reachable hub name" in said


def test_every_run_that_a_model_names_has_taught_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").touch()  # of the folder that is worked in, which "" does not name
    for name in ("stage1", "teacher"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    nested = {"diffusion": {"init_args": {"denoiser": [{"init": str(tmp_path / "stage1")}]}}}
    model = {"teacher": str(tmp_path / "teacher"), "encoder": "", "init_args": nested}
    assert sorted(path.name for path in runs_named(model)) == ["stage1", "teacher"]
