"""Holds that a release is whole, opens in diffusers with the same numbers, and what is refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file, save_file

from datamodules.sources.synthetic import Synthetic
from experiments.checkpoints import load_any, load_pretrain, load_stage
from experiments.cli import call_command
from experiments.export import export
from experiments.model_card import card_text
from experiments.predict import predict
from experiments.release import scheduler_of, without_machine, write_tensors
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.nets.diffusion_model import NoiseSchedule
from lightning_modules.nets.gallery import Gallery
from lightning_modules.nets.sampler import seeded, stepper_of, times_of
from lightning_modules.nets.taesd_autoencoder import TaesdAutoencoder
from lightning_modules.weights_io import (
    MANIFEST_NAME,
    read_pretrained,
    read_stage,
    read_tensors,
    sha256_of,
    write_manifest,
)
from tests.experiments.refused import refused
from tests.experiments.small_stages import SIDE_PX, paper_words, write_run, write_weights

CAPTION = "a deep crack"
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


def exported(run: Path, name: str = "release") -> Path:
    """The release of a run, beside it."""
    call_command(export, ["--checkpoint", str(run), "--out", str(run.parent / name)])
    return run.parent / name


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with runs of both stages and their releases; the weights they began with are gone.

    run, two: their run directories; moved, release_2: their releases
    """
    folder = tmp_path_factory.mktemp("made_here")
    write_weights(folder / "hub")
    words = paper_words(folder / "hub")
    exported(write_run(folder / "run", "stage1.yaml", words))
    exported(write_run(folder / "two", "stage2.yaml", {**words, **STAGE_2}), "release_2")
    shutil.rmtree(folder / "hub")
    shutil.move(folder / "release", folder / "moved")
    return folder


@pytest.fixture(scope="module")
def ours(folder: Path) -> DiffusionPretrain:
    return load_pretrain(folder / "moved")


@pytest.fixture(scope="module")
def pipeline(folder: Path) -> StableDiffusionPipeline:
    opened = StableDiffusionPipeline.from_pretrained(folder / "moved")
    opened.set_progress_bar_config(disable=True)
    return opened


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
    """A copy of the baseline's release, to be spoilt."""
    return shutil.copytree(released, tmp_path / "release")


@pytest.mark.parametrize("name", ["seen_regions", "gallery"])
def test_regions_that_name_others_go_along(run: Path, tmp_path: Path, name: str) -> None:
    own = shutil.copytree(run, tmp_path / "run")
    Gallery("net", {name: torch.eye(2)[None, :1] for name in ("crack", "pit")}).save(own / name)
    released = exported(own) / name
    assert Gallery.load(released, fingerprint="net").names == ("crack", "pit")
    assert name in (released.parent / MANIFEST_NAME).read_text()


def test_parts_of_the_pipeline_compute_what_ours_compute(
    ours: DiffusionPretrain, pipeline: StableDiffusionPipeline, seed: int
) -> None:
    image, vae = torch.rand(1, 3, SIDE_PX, SIDE_PX) * 2 - 1, pipeline.vae
    noised, t = torch.randn(2, 4, 16, 16), torch.tensor([1, 1000])
    text = ours.diffusion.text_encoder([CAPTION, ""])
    with torch.no_grad():
        latents = vae.encode(image).latent_dist.mode() * vae.config.scaling_factor
        drawn = vae.decode(latents / vae.config.scaling_factor).sample.clamp(-1, 1)
        noise = pipeline.unet(noised, t - 1, encoder_hidden_states=text.tokens).sample
        our_latents = ours.diffusion.encode(image)
        pairs = [
            (latents, our_latents),
            (drawn, ours.diffusion.autoencoder.decode(our_latents)),
            (noise, ours.diffusion.denoiser(noised, t, text.tokens, text.mask)),
        ]
    for caption in (CAPTION, "crack " * 100):
        tokens, null = pipeline.encode_prompt(caption, "cpu", 1, True)
        expected = ours.diffusion.text_encoder([caption, ""]).tokens
        pairs.append((torch.cat([tokens, null]), expected))
    for got, expected in pairs:
        assert expected.std() > 0.01
        torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_pipeline_draws_an_image_of_the_training_side_by_our_ancestral_steps(
    ours: DiffusionPretrain, pipeline: StableDiffusionPipeline, seed: int
) -> None:
    image = pipeline(CAPTION, num_inference_steps=2, output_type="np").images[0]
    assert image.shape == (SIDE_PX, SIDE_PX, 3) and image.std() > 0
    latents, eps = torch.randn(2, 1, 4, 8, 8)
    for steps in (2, 50, 10):
        pipeline.scheduler.set_timesteps(steps)
        expected = times_of(ours.diffusion.schedule, steps)[:-1]
        assert (pipeline.scheduler.timesteps + 1).tolist() == expected
    generator = torch.Generator().manual_seed(3)
    got = pipeline.scheduler.step(eps, 799, latents, generator=generator).prev_sample
    alpha_bar = ours.diffusion.schedule.alpha_bar
    expected = stepper_of("ancestral", alpha_bar, [], seeded([3]))(latents, eps, 800, 700)
    torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_schedule_of_the_pipeline_is_ours(kind: str) -> None:
    schedule = NoiseSchedule(kind=kind)
    alphas = scheduler_of(schedule).alphas_cumprod
    torch.testing.assert_close(alphas, schedule.alpha_bar[1:], rtol=1e-3, atol=1e-7)


def test_release_holds_no_pickle_and_names_no_folder_of_the_machine(folder: Path) -> None:
    files = [path for path in (folder / "moved").rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".json", ".md", ".safetensors", ".sha256", ".yaml"}
    texts = [path.read_bytes() for path in files if path.name != "tokenizer.json"]
    assert not [text for text in texts if str(folder).encode() in text or b"made_here" in text]


def test_stage_2_brings_its_frozen_parts_and_can_stand_on_a_release_of_stage_1(
    folder: Path,
) -> None:
    assert load_stage(folder / "release_2").vocabulary is not None
    assert (folder / "release_2" / "vae" / "config.json").is_file()
    card = (folder / "release_2" / "README.md").read_text()
    assert "Frozen parts came from local files" in card
    state = torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    saved = read_pretrained(str(folder / "moved"))
    assert saved.stage == "pretrain" and saved.image_size_px == SIDE_PX
    assert saved.state.keys() == state.keys()
    assert all(saved.state[name].equal(value) for name, value in state.items())


def give_another_shape(release: Path) -> None:
    file = release / "unet" / "diffusion_pytorch_model.safetensors"
    save_file(load_file(file) | {"conv_in.weight": torch.zeros(1)}, file, {"format": "pt"})


def name_a_foreign_class(release: Path) -> None:
    text = (release / "config.yaml").read_text()
    text = text.replace("datamodules.transforms.ResizedCrop", "antigravity.Trap", 1)
    (release / "config.yaml").write_text(text)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (give_another_shape, "do not fit"),
        (name_a_foreign_class, r"got the class antigravity\.Trap, expected"),
    ],
)
def test_parts_that_do_not_fit_are_one_line(
    damage: Callable[[Path], None], line: str, folder: Path, tmp_path: Path
) -> None:
    release = shutil.copytree(folder / "moved", tmp_path / "release")
    damage(release)
    write_manifest(release)
    with pytest.raises(ValueError, match=line) as caught:
        load_pretrain(release)
    assert "\n" not in str(caught.value)


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


def test_stage_1_without_counterpart_is_one_file_and_needs_its_local_files_no_more(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "files").mkdir()
    net, files = TaesdAutoencoder("", ""), {}
    for name, part in (("encoder", net.encoder), ("decoder", net.decoder)):
        files[name] = str(tmp_path / "files" / f"{name}.pth")
        torch.save(part.state_dict(), files[name])
    kind = f"{TaesdAutoencoder.__module__}.{TaesdAutoencoder.__name__}"
    taesd = json.dumps({"class_path": kind, "init_args": files})
    words = {
        f"{PARTS}.autoencoder": taesd,
        f"{PARTS}.denoiser.init_args.block_channels": "[16, 16, 16]",
    }
    run = write_run(tmp_path / "run", "stage1_tiny.yaml", words)
    shutil.rmtree(tmp_path / "files")
    release = exported(run)
    said = "single file (diffusers has no counterpart of TaesdAutoencoder)"
    assert said in capsys.readouterr().out
    assert "load_pretrain" in (release / "README.md").read_text()
    before, after = (read_stage(folder).state for folder in (run, release))
    shutil.rmtree(run)
    assert before.keys() == after.keys()
    assert all(after[name].equal(value) for name, value in before.items())
    z = torch.zeros(1, 32, 2, 2)
    assert load_pretrain(release).diffusion.autoencoder.decode(z).shape[-1] == 16


def change_index(content: str) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        (folder / "release.json").write_text(content)
        write_manifest(folder)

    return change


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda folder: (folder / "config.yaml").write_text("\n"), "'config.yaml' is missing, new"),
        (lambda folder: (folder / "model.safetensors").unlink(), "'model.safetensors' is missing"),
        (lambda folder: (folder / "extra.py").touch(), "'extra.py' is missing, new"),
        (lambda folder: (folder / MANIFEST_NAME).unlink(), "manifest.sha256 are missing"),
        (lambda folder: (folder / MANIFEST_NAME).write_bytes(b"\xff"), "is missing, new"),
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


def test_an_earlier_release_is_replaced_only_when_asked_and_whole_or_not_at_all(
    run: Path, release: Path, tmp_path: Path
) -> None:
    given = ("--checkpoint", run, "--out", release)
    assert "--overwrite" in refused(export, *given)
    call_command(export, [*map(str, given), "--overwrite"])
    (release / "thesis.tex").touch()
    assert "not overwritten" in refused(export, *given, "--overwrite")
    broken = shutil.copytree(run, tmp_path / "broken")
    (broken / "results.json").write_text("{")
    line = refused(export, "--checkpoint", broken, "--out", tmp_path / "out")
    assert "results.json is no readable JSON" in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "release"]


def test_tied_and_permuted_tensors_are_written_with_their_values(tmp_path: Path) -> None:
    weight = torch.randn(2, 3, 4, 4)
    permuted = weight.to(memory_format=torch.channels_last)
    state = {"one": weight, "tied": weight, "part": weight[1], "permuted": permuted}
    write_tensors(tmp_path / "all.safetensors", state)
    back = read_tensors(tmp_path / "all.safetensors")
    assert all(back[name].equal(value) for name, value in state.items())


def test_paths_of_a_machine_are_cut_to_their_last_name() -> None:
    kept = {"name": "openai/clip", "text": "a/b, c", "rate": 1e-4, "on": None}
    paths = ["/data/mtd", "~/mtd", "../../mtd", "file:///data/mtd"]
    assert without_machine({**kept, "roots": paths}) == {**kept, "roots": ["mtd"] * 4}


RECORD = {
    "git": {"commit": "abc123", "dirty": "yes"},
    "packages": {"torch": "2.0.0"},
    "data": {"dataset": "synthetic", "manifest_sha256": "f" * 64, "split_sha256": "e" * 64},
}
RESULTS = {"mask/test/iou_image": 0.5, "mask/test/aupro": None, "perf/images_per_s": 7.0}


def test_card_tells_what_the_run_knows_and_what_nobody_recorded(
    run: Path, released: Path, tmp_path: Path
) -> None:
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
    text = (released / "README.md").read_text()
    assert "Manifest: sha256 unknown" in text and "Code: commit unknown" in text
    assert "unknown: the run directory holds no figures" in text
    assert "Weights: unknown, nobody has stated one" in text
