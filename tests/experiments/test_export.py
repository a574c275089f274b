"""Holds what export writes for stages that no other library knows, and what it refuses."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from experiments import export
from experiments.checkpoints import load_pretrain, load_stage
from experiments.cli import call_command
from experiments.command import run_command
from experiments.predict import predict
from experiments.releasing.release import without_machine, write_tensors
from lightning_modules.nets.taesd_autoencoder import TaesdAutoencoder
from lightning_modules.weights_io import (
    MANIFEST_NAME,
    read_stage,
    read_tensors,
    sha256_of,
    write_manifest,
)
from tests.experiments.small_stages import paper_words, write_run, write_weights

STAGE_2 = {
    "model.init_args.mask_generator.init_args": json.dumps(
        {
            "width": 32,
            "mask_queries": 4,
            "transformer_layers": 1,
            "pixel_decoder_layers": 1,
            "attention_heads": 2,
            "feedforward_width": 32,
            "pixel_feedforward_width": 32,
            "strides": [2, 4],
        }
    ),
    "model.init_args.taps": "unet",
    "model.init_args.pretrained": "random",
    "model.init_args.tile_px": "32",
}


TAESD = "lightning_modules.nets.taesd_autoencoder.TaesdAutoencoder"


def write_random_weights(folder: Path) -> dict[str, str]:
    """The encoder's and the decoder's file of a random TAESD-like autoencoder, by name."""
    folder.mkdir()
    net = TaesdAutoencoder("", "")
    for name, part in (("encoder", net.encoder), ("decoder", net.decoder)):
        torch.save(part.state_dict(), folder / f"{name}.pth")
    return {name: f"{folder}/{name}.pth" for name in ("encoder", "decoder")}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a constant baseline."""
    directory = tmp_path_factory.mktemp("constant")
    write_run(directory / "run", "baselines/constant.yaml", {"output": str(directory)})
    point = {"pixel_threshold": 0.25, "image_threshold": 0.75}
    (directory / "run" / "thresholds.json").write_text(json.dumps(point))
    return directory / "run"


@pytest.fixture
def release(run: Path, tmp_path: Path) -> Path:
    export.main(["--checkpoint", str(run), "--out", str(tmp_path / "release")])
    return tmp_path / "release"


def refusal(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """The one line that the command ends with; its exit code is 2."""
    with pytest.raises(SystemExit) as ending:
        run_command(lambda _: export.main([str(word) for word in words]))
    text = capsys.readouterr().err
    assert ending.value.code == 2
    assert text.startswith("error: ") and text.count("\n") == 1
    return text


def fault_of(release: Path) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load_stage(release)
    text = str(caught.value)
    assert "\n" not in text and "expected" in text
    return text


def test_baseline_is_one_file_and_comes_back_with_words_and_thresholds(release: Path) -> None:
    assert {path.name for path in release.iterdir()} == {
        "README.md", "config.yaml", "manifest.sha256", "model.safetensors", "release.json",
        "thresholds.json",
    }  # fmt: skip
    model = load_stage(release)
    assert model.vocabulary is not None and model.vocabulary.names == ("good", "crack", "stain")
    assert model.post_processing.points.default.pixel == 0.25


def test_predict_takes_a_release(release: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 30), dtype=np.uint8)).save(tmp_path / "part.png")
    given = ["--checkpoint", release, "--images", tmp_path / "part.png", "--out", tmp_path / "out"]
    assert call_command(predict, [*map(str, given), "--device", "cpu"]) == 0
    (image,) = json.loads((tmp_path / "out" / "predictions.json").read_text())["images"]
    assert image["answer"] == "good"


def test_release_can_be_exported_again(release: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    assert export.main(["--checkpoint", str(release), "--out", str(again)]) == 0
    same = (again / "model.safetensors").read_bytes()
    assert same == (release / "model.safetensors").read_bytes()


def test_index_tells_releases_of_other_weights_apart(release: Path) -> None:
    index = json.loads((release / "release.json").read_text())
    assert index["weights"][""]["sha256"] == sha256_of(release / "model.safetensors")


def test_stage_1_without_counterpart_says_why_it_is_one_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    denoiser = "model.init_args.diffusion.init_args.denoiser.init_args"
    narrow = {f"{denoiser}.block_channels": "[16, 16, 16]"}
    run = write_run(tmp_path / "run", "stage1_tiny.yaml", narrow)
    export.main(["--checkpoint", str(run), "--out", str(tmp_path / "release")])
    assert "single file (diffusers has no counterpart of DctAutoencoder)" in capsys.readouterr().out
    before, after = (read_stage(tmp_path / name).state for name in ("run", "release"))
    assert before.keys() == after.keys()
    assert all(after[name].equal(value) for name, value in before.items())


def test_release_of_parts_from_local_files_needs_those_files_no_more(tmp_path: Path) -> None:
    taesd = {"class_path": TAESD, "init_args": write_random_weights(tmp_path / "files")}
    parts = "model.init_args.diffusion.init_args"
    narrow = {
        f"{parts}.autoencoder": json.dumps(taesd),
        f"{parts}.denoiser.init_args.block_channels": "[16, 16, 16]",
    }
    run = write_run(tmp_path / "run", "stage1_tiny.yaml", narrow)
    shutil.rmtree(tmp_path / "files")
    export.main(["--checkpoint", str(run), "--out", str(tmp_path / "release")])
    shutil.rmtree(tmp_path / "run")
    z = torch.zeros(1, 32, 2, 2)
    assert load_pretrain(tmp_path / "release").diffusion.autoencoder.decode(z).shape[-1] == 16


def test_stage_2_brings_the_weights_of_its_frozen_parts(tmp_path: Path) -> None:
    write_weights(tmp_path / "hub")
    run = write_run(tmp_path / "run", "stage2.yaml", {**paper_words(tmp_path / "hub"), **STAGE_2})
    export.main(["--checkpoint", str(run), "--out", str(tmp_path / "release")])
    shutil.rmtree(tmp_path / "hub")
    assert load_stage(tmp_path / "release").vocabulary is not None
    assert (tmp_path / "release" / "vae" / "config.json").is_file()


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda folder: (folder / "config.yaml").open("a").write("\n"), "config.yaml has changed"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda folder: (folder / "extra.py").touch(), "extra.py is not one of its files"),
        (lambda folder: (folder / MANIFEST_NAME).unlink(), "manifest.sha256 is missing"),
        (lambda folder: (folder / MANIFEST_NAME).write_text("0" * 64), "broken at"),
        (lambda folder: (folder / MANIFEST_NAME).write_bytes(b"\xff"), "broken at"),
    ],
    ids=["changed", "missing", "extra", "no manifest", "no names", "no text"],
)
def test_release_that_is_not_as_it_was_written_is_one_line(
    damage: object, told: str, release: Path
) -> None:
    assert callable(damage)
    damage(release)
    assert told in fault_of(release)


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"weights": {}}', '{"weights": {"": {"file": "../../x", "prefix": ""}}}'],
)
def test_broken_index_is_one_line(text: str, release: Path) -> None:
    (release / "release.json").write_text(text)
    write_manifest(release)
    assert "release.json" in fault_of(release)


def test_files_of_version_control_are_no_fault(release: Path) -> None:
    (release / ".git").mkdir()
    (release / ".git" / "HEAD").touch()
    assert load_stage(release).vocabulary is not None


def test_an_earlier_release_is_replaced_only_when_asked(
    run: Path, release: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--checkpoint", run, "--out", release]
    assert "--overwrite" in refusal(capsys, *given)
    assert export.main([*map(str, given), "--overwrite"]) == 0
    assert [path.name for path in release.parent.iterdir()] == ["release"]


def test_a_folder_with_other_files_is_never_replaced(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.tex").touch()
    text = refusal(capsys, "--checkpoint", run, "--out", tmp_path, "--overwrite")
    assert "not overwritten" in text and (tmp_path / "thesis.tex").exists()


def test_run_of_two_stages_asks_which(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for stage in ("pretrain", "finetune"):
        (tmp_path / "two" / stage).mkdir(parents=True)
    text = refusal(capsys, "--checkpoint", tmp_path / "two", "--out", tmp_path / "out")
    assert f"name {tmp_path}/two/pretrain or {tmp_path}/two/finetune" in text


def test_refused_export_leaves_nothing_behind(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = shutil.copytree(run, tmp_path / "broken")
    (broken / "results.json").write_text("{")
    text = refusal(capsys, "--checkpoint", broken, "--out", tmp_path / "out")
    assert "results.json is broken" in text
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_tied_and_permuted_tensors_are_written_with_their_values(tmp_path: Path) -> None:
    weight = torch.randn(2, 3, 4, 4)
    state = {
        "one": weight,
        "tied": weight,
        "part": weight[1],
        "permuted": weight.to(memory_format=torch.channels_last),
    }
    write_tensors(tmp_path / "all.safetensors", state)
    back = read_tensors(tmp_path / "all.safetensors")
    assert all(back[name].equal(value) for name, value in state.items())


@pytest.mark.parametrize("path", ["/data/mtd", "~/mtd", "../../mtd", "file:///data/mtd"])
def test_paths_of_a_machine_are_cut_to_their_last_name(path: str) -> None:
    assert without_machine({"data": {"roots": [path]}}) == {"data": {"roots": ["mtd"]}}


def test_hub_names_and_other_words_stay() -> None:
    raw: dict[str, object] = {"name": "openai/clip", "text": "a/b, c", "rate": 1e-4, "on": None}
    assert without_machine(raw) == raw
