"""Holds what export writes for stages that no other library knows, its card, and refusals."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.sources.synthetic import Synthetic
from experiments.checkpoints import load_any, load_pretrain, load_stage
from experiments.cli import call_command
from experiments.export import export
from experiments.model_card import card_text
from experiments.predict import predict
from experiments.release import without_machine, write_tensors
from lightning_modules.nets.taesd_autoencoder import TaesdAutoencoder
from lightning_modules.weights_io import (
    MANIFEST_NAME,
    read_stage,
    read_tensors,
    sha256_of,
    write_manifest,
)
from tests.experiments.refused import refused
from tests.experiments.small_stages import paper_words, write_run, write_weights

GENERATOR = {
    "width": 32,
    "mask_queries": 4,
    "transformer_layers": 1,
    "pixel_decoder_layers": 1,
    "attention_heads": 2,
    "feedforward_width": 32,
    "pixel_feedforward_width": 32,
    "strides": [2, 4],
}
STAGE_2 = {
    "model.init_args.mask_generator.init_args": json.dumps(GENERATOR),
    "model.init_args.taps": "unet",
    "model.init_args.pretrained": "random",
    "model.init_args.tile_px": "32",
}
PARTS = "model.init_args.diffusion.init_args"
NARROW = {f"{PARTS}.denoiser.init_args.block_channels": "[16, 16, 16]"}


def exported(run: Path, *more: str) -> Path:
    """The release of a run, beside it."""
    release = run.parent / "release"
    call_command(export, ["--checkpoint", str(run), "--out", str(release), *more])
    return release


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run directory of a constant baseline."""
    directory = tmp_path_factory.mktemp("constant")
    write_run(directory / "run", "baselines/constant.yaml", {"output": str(directory)})
    point = {"pixel_threshold": 0.25, "image_threshold": 0.75}
    (directory / "run" / "thresholds.json").write_text(json.dumps(point))
    return directory / "run"


@pytest.fixture(scope="module")
def released(run: Path) -> Path:
    return exported(run)


@pytest.fixture
def release(released: Path, tmp_path: Path) -> Path:
    """A copy of the release, to be spoilt."""
    return shutil.copytree(released, tmp_path / "release")


def test_baseline_is_one_file_and_comes_back_with_words_and_thresholds(released: Path) -> None:
    assert {path.name for path in released.iterdir()} == {
        "README.md", "config.yaml", "manifest.sha256", "model.safetensors", "release.json",
        "thresholds.json",
    }  # fmt: skip
    model = load_stage(released)
    assert model.vocabulary is not None and model.vocabulary.names == ("good", "crack", "stain")
    assert model.post_processing.points.default.pixel == 0.25
    index = json.loads((released / "release.json").read_text())
    assert index["weights"][""]["sha256"] == sha256_of(released / "model.safetensors")


def test_predict_and_export_take_a_release(released: Path, tmp_path: Path) -> None:
    Image.fromarray(np.zeros((40, 30), dtype=np.uint8)).save(tmp_path / "part.png")
    given = ["--checkpoint", released, "--images", tmp_path / "part.png", "--out", tmp_path / "out"]
    assert call_command(predict, [*map(str, given), "--device", "cpu"]) == 0
    call_command(export, ["--checkpoint", str(released), "--out", str(tmp_path / "again")])
    files = [folder / "model.safetensors" for folder in (released, tmp_path / "again")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_stage_1_without_counterpart_says_why_it_is_one_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    release = exported(write_run(tmp_path / "run", "stage1_tiny.yaml", NARROW))
    assert "single file (diffusers has no counterpart of DctAutoencoder)" in capsys.readouterr().out
    before, after = (read_stage(folder).state for folder in (tmp_path / "run", release))
    assert before.keys() == after.keys()
    assert all(after[name].equal(value) for name, value in before.items())
    assert "load_pretrain" in (release / "README.md").read_text()


def test_release_of_parts_from_local_files_needs_those_files_no_more(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    net, files = TaesdAutoencoder("", ""), {}
    for name, part in (("encoder", net.encoder), ("decoder", net.decoder)):
        files[name] = str(tmp_path / "files" / f"{name}.pth")
        torch.save(part.state_dict(), files[name])
    kind = f"{TaesdAutoencoder.__module__}.{TaesdAutoencoder.__name__}"
    taesd = json.dumps({"class_path": kind, "init_args": files})
    run = write_run(tmp_path / "run", "stage1_tiny.yaml", {f"{PARTS}.autoencoder": taesd, **NARROW})
    shutil.rmtree(tmp_path / "files")
    release = exported(run)
    shutil.rmtree(run)
    z = torch.zeros(1, 32, 2, 2)
    assert load_pretrain(release).diffusion.autoencoder.decode(z).shape[-1] == 16


def test_stage_2_brings_the_weights_of_its_frozen_parts(tmp_path: Path) -> None:
    write_weights(tmp_path / "hub")
    run = write_run(tmp_path / "run", "stage2.yaml", {**paper_words(tmp_path / "hub"), **STAGE_2})
    release = exported(run)
    shutil.rmtree(tmp_path / "hub")
    assert load_stage(release).vocabulary is not None
    assert (release / "vae" / "config.json").is_file()
    assert "Frozen parts came from local files" in (release / "README.md").read_text()


def change_index(content: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / "release.json").write_text(content)
        write_manifest(folder)

    return change


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (
            lambda folder: (folder / "config.yaml").open("a").write("\n"),
            "'config.yaml' is missing, new",
        ),
        (lambda folder: (folder / "model.safetensors").unlink(), "'model.safetensors' is missing"),
        (lambda folder: (folder / "extra.py").touch(), "'extra.py' is missing, new"),
        (lambda folder: (folder / MANIFEST_NAME).unlink(), "manifest.sha256 are missing"),
        (lambda folder: (folder / MANIFEST_NAME).write_bytes(b"\xff"), "is missing, new"),
        (change_index(""), "release.json"),
        (change_index('{"weights": {}}'), "release.json"),
        (change_index('{"weights": {"": {"file": "../../x", "prefix": ""}}}'), "release.json"),
    ],
)
def test_release_that_is_not_as_it_was_written_is_one_line(
    damage: Callable[[Path], object], line: str, release: Path
) -> None:
    (release / ".git").mkdir()  # of version control, no fault
    assert load_stage(release).vocabulary is not None
    damage(release)
    with pytest.raises((ValueError, FileNotFoundError), match=line) as caught:
        load_stage(release)
    assert "\n" not in str(caught.value) and "expected" in str(caught.value)


def test_an_earlier_release_is_replaced_only_when_asked(run: Path, release: Path) -> None:
    given = ("--checkpoint", run, "--out", release)
    assert "--overwrite" in refused(export, *given)
    call_command(export, [*map(str, given), "--overwrite"])
    assert [path.name for path in release.parent.iterdir()] == ["release"]
    (release / "thesis.tex").touch()
    assert "not overwritten" in refused(export, *given, "--overwrite")


def test_refused_export_leaves_nothing_behind(run: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(run, tmp_path / "broken")
    (broken / "results.json").write_text("{")
    line = refused(export, "--checkpoint", broken, "--out", tmp_path / "out")
    assert "results.json is no readable JSON" in line
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


def test_tied_and_permuted_tensors_are_written_with_their_values(tmp_path: Path) -> None:
    weight = torch.randn(2, 3, 4, 4)
    permuted = weight.to(memory_format=torch.channels_last)
    state = {"one": weight, "tied": weight, "part": weight[1], "permuted": permuted}
    write_tensors(tmp_path / "all.safetensors", state)
    back = read_tensors(tmp_path / "all.safetensors")
    assert all(back[name].equal(value) for name, value in state.items())


@pytest.mark.parametrize("path", ["/data/mtd", "~/mtd", "../../mtd", "file:///data/mtd"])
def test_paths_of_a_machine_are_cut_to_their_last_name(path: str) -> None:
    raw = {"name": "openai/clip", "text": "a/b, c", "rate": 1e-4, "on": None}
    assert without_machine({**raw, "roots": [path]}) == {**raw, "roots": ["mtd"]}


RECORD = {
    "git": {"commit": "abc123", "dirty": "yes"},
    "packages": {"torch": "2.0.0"},
    "data": {"dataset": "synthetic", "manifest_sha256": "f" * 64, "split_sha256": "e" * 64},
}
RESULTS = {"mask/test/iou_image": 0.5, "mask/test/aupro": None, "perf/images_per_s": 7.0}


def test_card_tells_what_the_run_knows(run: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(run, tmp_path / "run")
    (directory / "run_record.json").write_text(json.dumps(RECORD))
    (directory / "results.json").write_text(json.dumps(RESULTS))
    text = card_text(load_any(directory), reason="it is a baseline", licence="CC-BY-4.0")
    about = Synthetic().about
    for line in (
        "| test | mask: iou_image | 0.5000 |",
        "| test | mask: aupro | - |",
        f"Data set: {about.title} (synthetic)",
        f"Manifest: sha256 {'f' * 64}",
        f"Split: sha256 {'e' * 64}",
        f"Licences of the data: {about.licence}",
        "commit abc123 with uncommitted changes",
        "| torch | 2.0.0 |",
        "Weights: CC-BY-4.0",
        "Exported from `last.ckpt`, sha256 ",
    ):
        assert line in text
    assert "license: cc-by-4.0" in text.split("---")[1]
    assert "images_per_s" not in text and str(directory) not in text


def test_card_says_what_nobody_recorded(released: Path) -> None:
    text = (released / "README.md").read_text()
    assert "Manifest: sha256 unknown" in text and "Code: commit unknown" in text
    assert "unknown: the run directory holds no figures" in text
    assert "Weights: unknown, nobody has stated one" in text
