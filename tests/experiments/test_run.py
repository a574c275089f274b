"""Holds the command that trains: one very small two-stage run from end to end, and refusals."""

import io
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mlflow.tracking import MlflowClient
from PIL import Image

from callbacks.ema import LIVE_KEY
from experiments import predict, run
from experiments.checkpoints import load_stage
from experiments.command import run_command
from experiments.configuration import parse_stage, stage_parser
from experiments.runs import RunRow, read_runs, tracking_uri

STAGES = ("pretrain", "finetune")


def small_words(output: Path) -> list[str]:
    """The quickstart in `output`, cut down to four steps of four crops of 64 px in each stage."""
    settings = {
        "output": output,
        "data.init_args.root": output / "data",
        "data.init_args.manifest_folder": output / "manifests",
        "data.init_args.source.init_args.image_count": 48,
        "data.init_args.source.init_args.image_size_px": 72,
        "data.init_args.batch_size": 4,
        "data.init_args.draws_per_epoch": 16,
        "data.init_args.train_transform.init_args.crop_size_px": 64,
        "finetune.model.init_args.tile_px": 64,
        "finetune.model.init_args.tile_overlap_px": 0,
        "trainer.max_epochs": 1,
        "trainer.check_val_every_n_epoch": 1,
        "trainer.limit_val_batches": 3,
        "trainer.limit_test_batches": 6,
    }
    return [f"--{key}={value}" for key, value in settings.items()]


@dataclass(frozen=True, slots=True)
class SmallRun:
    """A finished run: its output folder, its directory, and what it printed."""

    output: Path
    directory: Path
    printed: str

    def checkpoint(self, stage: str) -> dict[str, dict[str, torch.Tensor]]:
        return torch.load(self.directory / stage / "checkpoints" / "last.ckpt", weights_only=True)

    def read(self, stage: str, name: str) -> dict[str, object]:
        return json.loads((self.directory / stage / name).read_text())

    def tracked(self, stage: str) -> RunRow:
        (row,) = (row for row in read_runs(self.output, "quickstart") if stage in row.name)
        return row


@pytest.fixture(scope="module", autouse=True)
def environment() -> Iterator[None]:
    """No tracker but the run's own, and no trace of a run in this process's environment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name in (run.DIRECTORY_VARIABLE, "PL_GLOBAL_SEED", "PL_SEED_WORKERS"):
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
    point = finished.read("finetune", "thresholds.json")
    assert set(point) == {"pixel_threshold", "image_threshold"}
    assert all(0 <= float(str(value)) <= 1 for value in point.values())


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
    assert {"git_commit", "manifest_sha256", "split_sha256", "seed", "stage"} <= set(row.tags)


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
    point = finished.read("finetune", "thresholds.json")
    assert not model.training
    assert float(model.post_processing.pixel_threshold) == pytest.approx(point["pixel_threshold"])
    with torch.inference_mode():
        answer = model.predict_image(torch.zeros(3, 50, 83))
    assert answer.label_map.shape == (50, 83)


def test_stage_1_is_refused_where_masks_are_wanted(finished: SmallRun) -> None:
    with pytest.raises(ValueError, match="holds DiffusionPretrain, which finds no masks"):
        load_stage(finished.directory / "pretrain")


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
    assert predict.main([*words, "--labels", "crack; scratch, scuff; good"]) == 0
    sizes = {path.stem: Image.open(path).size for path in (out / "labels").iterdir()}
    assert sizes == {"grey": (61, 90), "alpha": (61, 40), "deep": (33, 90)}
    categories = json.loads((out / "predictions.json").read_text())["categories"]
    assert [category["name"] for category in categories] == ["crack", "scratch"]


def refusal(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """The one line that the command ends with; its exit code is 2."""
    with pytest.raises(SystemExit) as ending:
        run_command(lambda _: run.main(list(words)))
    text = capsys.readouterr().err
    assert ending.value.code == 2
    lines = [line for line in text.splitlines() if line.startswith("error: ")]
    assert len(lines) == 1 and "Traceback" not in text
    return lines[0]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["--config", "quikstart.yaml"], "did you mean quickstart.yaml"),
        ([], "no config was given"),
        (["--config", "quickstart.yaml", "--sed", "1"], "did you mean seed"),
        (["--config", "quickstart.yaml", "--seed", "one"], "seed: got 'one', expected int"),
        (["--config", "quickstart.yaml", "--model.init_args.tile_pix", "1"], "tile_pix: got an"),
        (["--config", "stage1_tiny.yaml", "--only", "finetune"], "leave --only out"),
    ],
    ids=["unknown config", "no config", "unknown key", "wrong type", "wrong stage", "one stage"],
)
def test_fault_of_a_configuration_is_one_line_and_writes_nothing(
    words: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mlruns"
    assert line in refusal(capsys, *words, *(["--output", str(output)] if words else []))
    assert not output.exists()


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
def test_refused_run_is_not_left_running_in_the_tracker(
    experiment: str, finished: SmallRun
) -> None:
    with pytest.raises((ValueError, FileNotFoundError)):
        run.main(faulty_words("data root" if experiment == "mtd" else "checkpoint", finished))
    statuses = {row.status for row in read_runs(finished.output, experiment)}
    assert "RUNNING" not in statuses


def test_fault_of_stage_2_is_found_before_stage_1_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def train(*_: object, **__: object) -> None:
        raise AssertionError("stage 1 trained")

    monkeypatch.setattr(run, "StageRun", train)
    words = ["--config", "quickstart.yaml", *small_words(tmp_path)]
    with pytest.raises(ValueError, match="set stem: true"):
        run.main([*words, "--finetune.model.init_args.stem", "false"])


def test_output_that_is_a_file_is_one_line_with_a_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("mine")
    line = refusal(capsys, "--config", "quickstart.yaml", "--output", str(tmp_path / "file"))
    assert str(tmp_path / "file") in line and "--output" in line
    assert (tmp_path / "file").read_text() == "mine"


def test_command_refuses_a_broken_database_in_a_process_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("no database" * 100)
    words = ["--config", "quickstart.yaml", "--output", str(tmp_path)]
    ended = subprocess.run(
        [sys.executable, "-m", "experiments.run", *words],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert line.startswith("error: tracking database") and "is not an SQLite database" in line
    assert (tmp_path / "mlflow.db").read_text() == "no database" * 100


def test_print_config_prints_the_layers_merged_and_runs_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--config", "quickstart.yaml", "--output", str(tmp_path / "out"), "--seed", "7"]
    assert run.main([*words, "--print_config"]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["seed"] == 7 and printed["pretrain"]["trainer"]["max_epochs"] >= 1
    assert not (tmp_path / "out").exists()
