"""Holds that diffusers opens a released stage 1, and that its parts compute what ours compute."""

import shutil
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file

from experiments.checkpoints import load_pretrain
from experiments.cli import call_command
from experiments.export import export
from experiments.release import scheduler_of
from lightning_modules.diffusion_pretrain import DiffusionPretrain
from lightning_modules.nets.diffusion_model import NoiseSchedule
from lightning_modules.nets.sampler import seeded, stepper_of, times_of
from lightning_modules.weights_io import read_pretrained, write_manifest
from tests.experiments.small_stages import SIDE_PX, paper_words, write_run, write_weights

CAPTION = "a deep crack"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of stage 1 and its release; the weights it began with are gone."""
    folder = tmp_path_factory.mktemp("made_here")
    write_weights(folder / "hub")
    run = write_run(folder / "run", "stage1.yaml", paper_words(folder / "hub"))
    call_command(export, ["--checkpoint", str(run), "--out", str(folder / "release")])
    shutil.move(folder / "hub", folder / "elsewhere")
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


@pytest.fixture
def release(folder: Path, tmp_path: Path) -> Path:
    """A copy of the release, to be spoilt."""
    return shutil.copytree(folder / "moved", tmp_path / "release")


def test_unet_of_the_pipeline_predicts_the_same_noise(
    ours: DiffusionPretrain, pipeline: StableDiffusionPipeline, seed: int
) -> None:
    latents, t = torch.randn(2, 4, 16, 16), torch.tensor([1, 1000])
    text = ours.diffusion.text_encoder([CAPTION, ""])
    with torch.no_grad():
        expected = ours.diffusion.denoiser(latents, t, text.tokens, text.mask)
        got = pipeline.unet(latents, t - 1, encoder_hidden_states=text.tokens).sample
    assert expected.std() > 0.01
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_autoencoder_of_the_pipeline_gives_the_same_latents_and_image(
    ours: DiffusionPretrain, pipeline: StableDiffusionPipeline, seed: int
) -> None:
    image, vae = torch.rand(1, 3, SIDE_PX, SIDE_PX) * 2 - 1, pipeline.vae
    with torch.no_grad():
        latents = vae.encode(image).latent_dist.mode() * vae.config.scaling_factor
        drawn = vae.decode(latents / vae.config.scaling_factor).sample.clamp(-1, 1)
        ours_latents = ours.diffusion.encode(image)
        ours_drawn = ours.diffusion.autoencoder.decode(ours_latents)
    torch.testing.assert_close(latents, ours_latents, rtol=0, atol=1e-5)
    torch.testing.assert_close(drawn, ours_drawn, rtol=0, atol=1e-5)


@pytest.mark.parametrize("caption", [CAPTION, "crack " * 100])
def test_pipeline_reads_a_caption_as_we_do(
    caption: str, ours: DiffusionPretrain, pipeline: StableDiffusionPipeline
) -> None:
    tokens, null = pipeline.encode_prompt(caption, "cpu", 1, True)
    expected = ours.diffusion.text_encoder([caption, ""]).tokens
    torch.testing.assert_close(torch.cat([tokens, null]), expected, rtol=0, atol=1e-5)


def test_pipeline_draws_an_image_of_the_training_side_in_two_steps(
    pipeline: StableDiffusionPipeline,
) -> None:
    image = pipeline(CAPTION, num_inference_steps=2, output_type="np").images[0]
    assert image.shape == (SIDE_PX, SIDE_PX, 3)
    assert image.std() > 0


def test_a_step_of_the_pipeline_is_our_ancestral_step(
    ours: DiffusionPretrain, pipeline: StableDiffusionPipeline, seed: int
) -> None:
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


def test_pseudo_caption_comes_from_the_release_alone(ours: DiffusionPretrain, seed: int) -> None:
    image = torch.rand(2, 3, SIDE_PX, SIDE_PX) * 2 - 1
    one, other = ours.diffusion.caption(image)
    assert one.shape == (16,) and not one.equal(other)


def test_stage_2_can_stand_on_a_release(folder: Path) -> None:
    state = torch.load(folder / "run/checkpoints/last.ckpt", weights_only=True)["state_dict"]
    saved = read_pretrained(str(folder / "moved"))
    assert saved.stage == "pretrain" and saved.image_size_px == SIDE_PX
    assert saved.state.keys() == state.keys()
    assert all(saved.state[name].equal(value) for name, value in state.items())


def test_weights_of_another_shape_are_one_line(release: Path) -> None:
    file = release / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    state["conv_in.weight"] = torch.zeros(1)
    save_file(state, file, metadata={"format": "pt"})
    write_manifest(release)
    with pytest.raises(ValueError, match="do not fit") as caught:
        load_pretrain(release)
    assert "\n" not in str(caught.value)


def test_class_of_another_project_is_never_imported(release: Path) -> None:
    config = release / "config.yaml"
    text = config.read_text().replace("datamodules.transforms.ResizedCrop", "antigravity.Trap", 1)
    config.write_text(text)
    write_manifest(release)
    with pytest.raises(ValueError, match=r"got the class antigravity\.Trap, expected"):
        load_pretrain(release)
