"""Holds the command that trains: a very small run of each stage from end to end, on real files."""

import inspect
import json
import math
import runpy
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from lightning import Trainer
from mlflow.tracking import MlflowClient
from PIL import Image

from callbacks.ema import LIVE_KEY
from datamodules.imdd import IMDDDataModule
from experiments.checkpoints import load_stage
from experiments.cli import call_command
from experiments.config import load_config, parse_stage, stage_parser
from experiments.inference.new_words import SEEN_REGIONS
from experiments.resume import PLACE_VARIABLE
from experiments.run import run
from experiments.tracking import experiment_names, tracking_uri
from experiments.train import accumulate
from experiments.typed_words import read_words
from lightning_modules.nets.post_processing import parse_operating_points
from tests.datamodules.sources.painting import save
from tests.experiments.refused import refused
from tests.experiments.small_run import (
    SMALL,
    SMALL_MASKS,
    STAGES,
    SmallRun,
    run_both,
    small_config,
    small_words,
    words_of,
)

FOLDER = Path(sys.modules["experiments"].__file__ or "").parent


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    """No tracker but the run's own, and no trace of a run in this process's environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name in (PLACE_VARIABLE, "PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
            patch.setenv(name, "")
            patch.delenv(name)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    return run_both(tmp_path_factory.mktemp("mlruns"))


def test_stage_2_stands_on_the_ema_weights_and_the_measured_scale_of_stage_1(
    finished: SmallRun,
) -> None:
    stage1 = finished.checkpoint("stage1")
    frozen, live = finished.checkpoint("stage2")["state_dict"], stage1[LIVE_KEY]
    names = [name for name in live if name.startswith("diffusion.denoiser.")]
    names.append("diffusion.autoencoder.deviation")
    assert len(names) > 1
    for name in names:
        assert frozen[f"features.{name}"].equal(stage1["state_dict"][name])
    assert any(not frozen[f"features.{name}"].equal(live[name]) for name in names[:-1])
    assert (stage1["state_dict"][names[-1]] != 1).any()


def test_results_are_flat_numbers_and_the_run_says_where_they_are(finished: SmallRun) -> None:
    assert "mask/test/iou_image" in finished.printed
    assert f"run directory: {finished.directory('stage2')}" in finished.printed
    assert "mlflow ui --backend-store-uri sqlite:///" in finished.printed
    for stage in STAGES:
        results = finished.read(stage, "results.json")
        assert results
        assert all(value is None or math.isfinite(float(str(value))) for value in results.values())
    names = "type_accuracy type_accuracy_balanced iou_image iou_dataset pixel_auroc pixel_ap aupro"
    assert {f"mask/test/{name}" for name in [*names.split(), "image_auroc"]} <= set(results)


@pytest.mark.parametrize(("stage", "prefix"), [("stage1", "samples_"), ("stage2", "masks_test_")])
def test_configuration_reads_back_as_itself_and_images_can_be_opened(
    stage: str, prefix: str, finished: SmallRun
) -> None:
    text = (finished.directory(stage) / "config.yaml").read_text()
    assert stage_parser().dump(parse_stage(read_words(text)), format="yaml") == text
    images = list(finished.directory(stage).glob(f"*/{prefix}*.png"))
    assert images
    assert all(np.asarray(Image.open(image)).std() > 0 for image in images)


@pytest.mark.parametrize(
    ("stage", "figure"), [("stage1", "pretrain/train/loss_diff"), ("stage2", "mask/test/iou_image")]
)
def test_tracked_run_is_finished_with_params_metrics_tags_and_files(
    stage: str, figure: str, finished: SmallRun
) -> None:
    row = finished.tracked(stage)
    assert row.status == "FINISHED" and figure in row.metrics
    assert row.params["data.batch_size"] == "4" and row.params["trainer.max_epochs"] == "1"
    tags = "git_commit manifest_sha256 split_sha256 dataset seed stage scale setting"
    assert set(tags.split()) <= set(row.tags)
    client = MlflowClient(tracking_uri(finished.output))
    files = {file.path for file in client.list_artifacts(row.run_id)}
    assert {"config.yaml", "results.json", "run_record.json", "images"} <= files
    assert client.list_artifacts(row.run_id, "images")


def test_stage_is_loaded_with_the_thresholds_that_its_validation_chose(finished: SmallRun) -> None:
    model = load_stage(finished.directory("stage2"))
    content = finished.read("stage2", "thresholds.json")
    assert content["split"] == "val" and content["objective"] == "balanced"
    assert model.post_processing.points == parse_operating_points(content)
    with torch.inference_mode():
        result = model.predict_image(torch.zeros(3, 50, 83))
    assert result.label_map.shape == (50, 83)
    assert not (finished.directory("stage2") / SEEN_REGIONS).exists()  # hashed words mean nothing


def results_again(finished: SmallRun, name: str, *more: str) -> dict[str, float]:
    """The results of stage 2's weights in a run of this name, and with these words."""
    words = [f"--name={name}", f"--experiment={name}", f"--weights={finished.directory('stage2')}"]
    assert call_command(run, small_words("stage2", finished.output, *words, *more)) == 0
    directory = finished.output / "runs" / name
    assert not (directory / "checkpoints").exists()
    return json.loads((directory / "results.json").read_text())


def test_weights_are_tested_again_and_on_other_data_and_names_at_given_thresholds(
    finished: SmallRun,
) -> None:
    results, expected = results_again(finished, "again"), finished.read("stage2", "results.json")
    assert results["mask/test/pixel_ap"] == pytest.approx(expected["mask/test/pixel_ap"])
    assert results["data/test_images_seen"] == 0
    moved = results_again(finished, "moved", "--data.init_args.split_seed=1")
    assert moved["data/test_images_seen"] > 0
    file = finished.directory("stage2") / "thresholds.json"
    other = ["--data.init_args.split_seed=1", "--data.init_args.held_out_types=[crack]"]
    names = "--data.init_args.test_types=held_out"
    results = results_again(finished, "else", f"--thresholds={file}", *other, names)
    named = {name.rpartition("/")[2] for name in results if "test/iou_type/" in name}
    assert named == {"crack"} and "mask/val/iou_image" not in results
    assert not (finished.output / "runs" / "else" / "thresholds.json").exists()


def test_training_that_never_validates_has_thresholds_all_the_same(finished: SmallRun) -> None:
    never = ["--trainer.limit_val_batches=0", "--trainer.check_val_every_n_epoch=null"]
    words = small_words("stage2", finished.output, "--name=unwatched", "--experiment=other", *never)
    assert call_command(run, words) == 0
    directory = finished.output / "runs" / "unwatched"
    assert (directory / "thresholds.json").is_file()
    again = parse_stage(load_config([str(directory / "config.yaml")]))
    assert again.trainer.check_val_every_n_epoch is None
    results = json.loads((directory / "results.json").read_text())
    assert math.isfinite(results["mask/val/type_accuracy"])


def test_what_the_trainer_refuses_leaves_no_run(finished: SmallRun) -> None:
    words = ["--name=none", "--experiment=other", "--trainer.accelerator=abacus"]
    assert "abacus" in refused(run, *small_words("stage2", finished.output, *words))
    assert not (finished.output / "runs" / "none").exists()


def test_finished_training_whose_test_was_lost_is_tested_again_alike(
    finished: SmallRun, tmp_path: Path
) -> None:
    shutil.copytree(finished.output, tmp_path / "mlruns")
    directory = tmp_path / "mlruns" / "runs" / "quickstart_stage2"
    (directory / "results.json").unlink()
    more = [f"--output={tmp_path / 'mlruns'}", "--resume=auto"]
    assert call_command(run, [*small_words("stage2", finished.output), *more]) == 0
    results = json.loads((directory / "results.json").read_text())
    first = finished.read("stage2", "results.json")
    for measured_anew in ("perf/test_ms_per_image", "perf/peak_memory_mb"):
        assert results.pop(measured_anew) and first.pop(measured_anew)
    assert results == first


@pytest.mark.parametrize(
    ("config", "word"),
    [("mtd_tiny_stage1", "--root"), ("stage2_tiny", "--pretrained"), ("stage1_tiny", "--manifest")],
)
def test_missing_input_is_one_line_and_leaves_no_run_behind_and_none_tracked(
    config: str, word: str, finished: SmallRun
) -> None:
    before = sorted((finished.output / "runs").iterdir())
    nowhere = str(finished.output / "nowhere")
    words = ["--experiment=none", f"--output={finished.output}", f"{word}={nowhere}"]
    line = refused(run, f"--config={config}", *words, "--trainer.accelerator=cpu")
    assert "nowhere" in line and ("expected" in line or "run python -m" in line)
    assert sorted((finished.output / "runs").iterdir()) == before
    assert "none" not in experiment_names(finished.output)


def test_four_functions_lie_between_the_command_and_the_trainers_fit(
    finished: SmallRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def fit(*_: object, **__: object) -> None:
        seen.extend(one.function for one in inspect.stack() if FOLDER in Path(one.filename).parents)
        raise ValueError("far enough")

    monkeypatch.setattr(Trainer, "fit", fit)
    words = small_words("stage1", finished.output, "--name=frames", "--experiment=frames")
    monkeypatch.setattr(sys, "argv", ["run", *words])
    with pytest.raises(SystemExit):
        runpy.run_module("experiments.run", run_name="__main__")
    assert seen == ["train", "run", "call_command", "run_command", "<module>"]


def passes(images: int | None, processes: int, given: int = 1) -> int:
    """How many passes a trainer takes for a step, at most 32 images in each."""
    data = IMDDDataModule(manifest="none", batch_size=32, global_batch_size=images)
    trainer = SimpleNamespace(world_size=processes, accumulate_grad_batches=given)
    accumulate(trainer, data)  # type: ignore[arg-type]
    return trainer.accumulate_grad_batches


def test_what_one_pass_cannot_hold_is_accumulated_or_refused() -> None:
    assert [passes(256, processes) for processes in (1, 2, 8, 16)] == [8, 4, 1, 1]
    assert passes(None, 2, given=3) == 3
    with pytest.raises(ValueError, match=r"accumulate_grad_batches is 3, but .* needs 8"):
        passes(256, 1, given=3)
    with pytest.raises(ValueError, match="3 processes cannot share evenly: use 2"):
        passes(256, 3)


def test_folder_of_a_persons_images_is_one_line(tmp_path: Path) -> None:
    parts = tmp_path / "parts"
    for number in range(24):
        kind = "crack" if number % 2 else "good"
        save(parts / "images" / kind / f"{number:02}.png", np.full((72, 90), 9 * number))
        mask = np.zeros((72, 90))
        mask[20:30, 5:25] = 255 * (number % 2)
        save(parts / "masks" / kind / f"{number:02}.png", mask)
    settings = {"output": tmp_path, "data.init_args.manifest_folder": tmp_path / "manifests"}
    small = words_of(settings | SMALL | SMALL_MASKS)
    line = ["--config", small_config("hybrid"), "--root", str(parts), "--labels", "crack, fissure"]
    assert call_command(run, [*line, *small]) == 0
    model = load_stage(tmp_path / "runs" / "own_data")
    assert [words[0] for words in model.vocabulary.entries] == ["good", "crack"]
    assert "fissure" in model.vocabulary.entries[1]
