"""Holds the command that trains: one very small two-stage run from end to end, on real files."""

import io
import json
import math
import shutil
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mlflow.tracking import MlflowClient
from PIL import Image

from callbacks.ema import LIVE_KEY
from experiments import run
from experiments.checkpoints import load_stage
from experiments.cli import call_command
from experiments.configuration import parse_stage, stage_parser
from experiments.predict import predict
from experiments.running.ranks import DECISIONS_VARIABLE
from experiments.runs import experiment_names, tracking_uri
from lightning_modules.nets.post_processing import parse_operating_points
from tests.experiments.small_run import SmallRun, refusal, small_words

STAGES = ("pretrain", "finetune")


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    """No tracker but the run's own, and no trace of a run in this process's environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name in (DECISIONS_VARIABLE, "PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
            patch.setenv(name, "")
            patch.delenv(name)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> SmallRun:
    output = tmp_path_factory.mktemp("mlruns")
    with redirect_stdout(io.StringIO()) as printed:
        assert run.main(["--config", "quickstart.yaml", *small_words(output)]) == 0
    return SmallRun(output, output / "runs" / "quickstart", printed.getvalue())


def test_run_ends_with_results_directory_and_the_line_that_shows_them(finished: SmallRun) -> None:
    assert "mask/test/iou_image" in finished.printed
    assert f"run directory: {finished.directory}" in finished.printed
    assert "mlflow ui --backend-store-uri sqlite:///" in finished.printed


def test_finetune_stands_on_the_ema_weights_of_pretrain(finished: SmallRun) -> None:
    pretrain = finished.checkpoint("pretrain")
    frozen = finished.checkpoint("finetune")["state_dict"]
    live = pretrain[LIVE_KEY]
    names = [name for name in live if name.startswith("diffusion.denoiser.")]
    assert names
    for name in names:
        assert frozen[f"features.{name}"].equal(pretrain["state_dict"][name])
    assert any(not frozen[f"features.{name}"].equal(live[name]) for name in names)


def test_finetune_keeps_the_scale_that_pretrain_measured(finished: SmallRun) -> None:
    measured = finished.checkpoint("pretrain")["state_dict"]["diffusion.autoencoder.deviation"]
    frozen = finished.checkpoint("finetune")["state_dict"]
    assert frozen["features.diffusion.autoencoder.deviation"].equal(measured)
    assert (measured != 1).any()


def test_image_tower_has_learnt_its_statistics(finished: SmallRun) -> None:
    state = finished.checkpoint("pretrain")["state_dict"]
    counts = [value for name, value in state.items() if name.endswith("num_batches_tracked")]
    assert counts and all(count > 0 for count in counts)


@pytest.mark.parametrize("stage", STAGES)
def test_results_are_flat_numbers(stage: str, finished: SmallRun) -> None:
    results = finished.read(stage, "results.json")
    assert results
    assert all(value is None or math.isfinite(float(str(value))) for value in results.values())


def test_results_hold_the_figures_of_the_test_split(finished: SmallRun) -> None:
    results = finished.read("finetune", "results.json")
    names = "type_accuracy type_accuracy_balanced iou_image iou_dataset pixel_auroc pixel_ap aupro"
    assert {f"mask/test/{name}" for name in [*names.split(), "image_auroc"]} <= set(results)


@pytest.mark.parametrize("stage", STAGES)
def test_configuration_beside_the_weights_reads_back_as_itself(
    stage: str, finished: SmallRun
) -> None:
    text = (finished.directory / stage / "config.yaml").read_text()
    assert stage_parser().dump(parse_stage(yaml.safe_load(text))) == text


def test_finetunes_configuration_names_the_pretrain_that_it_used(finished: SmallRun) -> None:
    raw = yaml.safe_load((finished.directory / "finetune" / "config.yaml").read_text())
    assert raw["model"]["init_args"]["pretrained"] == str(finished.directory / "pretrain")


def test_operating_point_lies_beside_the_weights(finished: SmallRun) -> None:
    content = finished.read("finetune", "thresholds.json")
    points = parse_operating_points(content)
    assert content["split"] == "val" and content["objective"] == "balanced"
    assert points.by_name and 0 <= points.image <= 1


@pytest.mark.parametrize(
    ("stage", "prefix"), [("pretrain", "samples_"), ("finetune", "masks_test_")]
)
def test_pictures_can_be_opened(stage: str, prefix: str, finished: SmallRun) -> None:
    pictures = list((finished.directory / stage / "pictures").glob(f"{prefix}*.png"))
    assert pictures
    assert all(np.asarray(Image.open(picture)).std() > 0 for picture in pictures)


def test_record_counts_what_was_trained_and_what_was_frozen(finished: SmallRun) -> None:
    one, two = (finished.read(s, "run_record.json")["parameters"] for s in STAGES)
    assert isinstance(one, dict) and isinstance(two, dict)
    assert one["total"]["trainable"] == two["total"]["frozen"] > 0
    assert two["mask_generator"]["trainable"] > 0 and two["denoiser"]["trainable"] == 0


@pytest.mark.parametrize("stage", STAGES)
def test_tracked_run_is_finished_with_params_metrics_and_tags(
    stage: str, finished: SmallRun
) -> None:
    row = finished.tracked(stage)
    assert row.status == "FINISHED"
    assert row.params["data.batch_size"] == "4" and row.params["trainer.max_epochs"] == "1"
    figure = {"pretrain": "pretrain/train/loss_diff", "finetune": "mask/test/iou_image"}[stage]
    assert figure in row.metrics
    tags = "git_commit manifest_sha256 split_sha256 dataset seed stage scale setting"
    assert set(tags.split()) <= set(row.tags)


@pytest.mark.parametrize("stage", STAGES)
def test_tracked_run_holds_the_files_and_the_pictures(stage: str, finished: SmallRun) -> None:
    client = MlflowClient(tracking_uri(finished.output))
    run_id = finished.tracked(stage).run_id
    files = {file.path for file in client.list_artifacts(run_id)}
    assert {"config.yaml", "results.json", "run_record.json", "images"} <= files
    assert client.list_artifacts(run_id, "images")


@pytest.mark.parametrize("place", ["", "finetune", "finetune/checkpoints/last.ckpt"])
def test_stage_is_loaded_from_run_directory_and_checkpoint(place: str, finished: SmallRun) -> None:
    model = load_stage(finished.directory / place)
    points = parse_operating_points(finished.read("finetune", "thresholds.json"))
    assert not model.training
    assert model.post_processing.points == points
    with torch.inference_mode():
        answer = model.predict_image(torch.zeros(3, 50, 83))
    assert answer.label_map.shape == (50, 83)


def test_stage_1_is_refused_where_masks_are_wanted(finished: SmallRun) -> None:
    with pytest.raises(ValueError, match="holds DiffusionPretrain, which finds no masks"):
        load_stage(finished.directory / "pretrain")


def test_weights_of_a_run_are_tested_again_without_training(finished: SmallRun) -> None:
    words = ["--config=quickstart.yaml", "--only=finetune", "--experiment=again", "--name=again"]
    weights = f"--weights={finished.directory / 'finetune'}"
    assert run.main([*words, weights, *small_words(finished.output)]) == 0
    again = finished.output / "runs" / "again" / "finetune"
    results = json.loads((again / "results.json").read_text())
    expected = finished.read("finetune", "results.json")
    assert results["mask/test/pixel_ap"] == pytest.approx(expected["mask/test/pixel_ap"])
    assert not (again / "checkpoints").exists()


def test_weights_are_tested_on_other_data_at_thresholds_that_it_did_not_choose(
    finished: SmallRun,
) -> None:
    words = ["--config=quickstart.yaml", "--only=finetune", "--experiment=else", "--name=else"]
    stage = finished.directory / "finetune"
    given = [f"--weights={stage}", f"--thresholds={stage / 'thresholds.json'}"]
    other = "--data.init_args.split_seed=1"
    assert run.main([*words, *given, *small_words(finished.output), other]) == 0
    elsewhere = finished.output / "runs" / "else" / "finetune"
    results = json.loads((elsewhere / "results.json").read_text())
    assert "mask/test/iou_image" in results and "mask/val/iou_image" not in results
    assert not (elsewhere / "thresholds.json").exists()


def test_weights_are_tested_on_held_out_types_by_these_names_alone(finished: SmallRun) -> None:
    words = ["--config=quickstart.yaml", "--only=finetune", "--experiment=new", "--name=new"]
    stage = finished.directory / "finetune"
    given = [f"--weights={stage}", f"--thresholds={stage / 'thresholds.json'}"]
    held = ["--data.init_args.held_out_types=[crack]", "--data.init_args.test_types=held_out"]
    assert run.main([*words, *given, *small_words(finished.output), *held]) == 0
    results = json.loads((finished.output / "runs/new/finetune/results.json").read_text())
    named = {name.rpartition("/")[2] for name in results if "test/iou_type/" in name}
    assert named == {"crack"}


def test_run_of_two_stages_goes_on_with_the_one_that_is_left(
    finished: SmallRun, tmp_path: Path
) -> None:
    shutil.copytree(finished.output, tmp_path / "mlruns")
    directory = tmp_path / "mlruns" / "runs" / "quickstart"
    (directory / "finetune" / "results.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in (directory / "pretrain").rglob("*")}
    words = [*small_words(finished.output), f"--output={tmp_path / 'mlruns'}", "--resume=auto"]
    assert run.main(["--config", "quickstart.yaml", *words]) == 0
    results = json.loads((directory / "finetune" / "results.json").read_text())
    first = finished.read("finetune", "results.json")
    took = "perf/test_ms_per_image"
    assert results.pop(took) and first.pop(took)
    assert results == first
    assert {path: path.stat().st_mtime_ns for path in (directory / "pretrain").rglob("*")} == before


def test_images_of_any_mode_and_size_are_predicted_in_any_words(
    finished: SmallRun, tmp_path: Path
) -> None:
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (90, 61), dtype=np.uint8)
    Image.fromarray(noise).save(images / "grey.png")
    Image.fromarray(noise[:40]).convert("RGBA").save(images / "alpha.png")
    Image.fromarray(noise[:, :33].astype(np.uint16) * 200).save(images / "deep.png")
    words = ["--checkpoint", str(finished.directory), "--images", str(images), "--out", str(out)]
    assert call_command(predict, [*words, "--labels", "crack; scratch, scuff; good"]) == 0
    sizes = {path.stem: Image.open(path).size for path in (out / "labels").iterdir()}
    assert sizes == {"grey": (61, 90), "alpha": (61, 40), "deep": (33, 90)}
    categories = json.loads((out / "predictions.json").read_text())["categories"]
    assert [category["name"] for category in categories] == ["crack", "scratch"]


def faulty_words(fault: str, finished: SmallRun) -> list[str]:
    """A run whose stage 1 or data is missing."""
    small = small_words(finished.output)
    nowhere = str(finished.output / "nowhere")
    if fault == "checkpoint":
        small = [word for word in small if not word.startswith("--finetune")]
        return ["--config=stage2_tiny.yaml", *small, f"--model.init_args.pretrained={nowhere}"]
    return [
        "--config=mtd_tiny.yaml",
        f"--output={finished.output}",
        f"--data.init_args.root={nowhere}",
    ]


@pytest.mark.parametrize("fault", ["data root", "checkpoint"])
def test_missing_input_is_one_line_and_leaves_no_run_behind(
    fault: str, finished: SmallRun, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted((finished.output / "runs").iterdir())
    line = refusal(capsys, *faulty_words(fault, finished))
    assert "nowhere" in line and "expected" in line
    assert sorted((finished.output / "runs").iterdir()) == before


@pytest.mark.parametrize("experiment", ["mtd", "tiny"])
def test_refused_run_is_not_tracked(experiment: str, finished: SmallRun) -> None:
    with pytest.raises((ValueError, FileNotFoundError)):
        run.main(faulty_words("data root" if experiment == "mtd" else "checkpoint", finished))
    assert experiment not in experiment_names(finished.output)
