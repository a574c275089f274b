"""Holds names by example from the folder of examples to predict's answers, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.sample import Instance, Prediction
from datamodules.vocabulary import Vocabulary
from experiments import predictor
from experiments.cli import call_command
from experiments.inference.examples import NamesByExample, example_images, read_gallery
from experiments.predict import predict
from experiments.predictor import Predictor
from lightning_modules.nets.region_embedding import RegionEmbedding
from tests.experiments.test_predict import FindsBrightPixels
from tests.lightning_modules.small_weights import NET, save_net


@pytest.fixture
def embed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RegionEmbedding:
    """A small encoder, which stands for the known one."""
    save_net(tmp_path)
    embed = RegionEmbedding(str(tmp_path / "net.safetensors"), NET, side_px=32)
    monkeypatch.setattr(predictor, "RegionEmbedding", lambda weights: embed)
    monkeypatch.setattr(predictor, "load_stage", lambda checkpoint: FindsBrightPixels())
    return embed


def draw(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """An image (64, 64, 3) with a bright plain or striped defect, and its mask."""
    pixels = np.random.default_rng(seed).integers(40, 80, (64, 64, 3), dtype=np.uint8)
    mask = np.zeros((64, 64), dtype=np.uint8)
    mask[20:40, 16:44] = 255
    pixels[20:40, 16:44] = 250
    if kind == "striped":
        pixels[20:40:4, 16:44] = pixels[21:40:4, 16:44] = (250, 190, 200)
    return pixels, mask


@pytest.fixture
def examples(tmp_path: Path) -> Path:
    """Three images of each of two names, one in capitals, with masks."""
    for name in ("Plain", "striped"):
        for index in range(3):
            for kind, pixels in zip(("images", "masks"), draw(name.lower(), index), strict=True):
                folder = tmp_path / "examples" / kind / name
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f"{index}.png")
    return tmp_path / "examples"


def run(examples: Path, images: Path, out: Path, *more: str) -> int:
    words = ["--checkpoint", "RUN", "--images", str(images), "--out", str(out), "--device", "cpu"]
    return call_command(predict, [*words, "--examples", str(examples), *more])


def test_regions_are_named_by_examples_instead_of_words(
    embed: RegionEmbedding, examples: Path
) -> None:
    door = Predictor(FindsBrightPixels())  # type: ignore[arg-type]
    door.use_examples(examples)
    assert door.vocabulary.names == ("good", "plain", "striped", "unknown")
    for kind in ("plain", "striped"):
        result = door.predict(draw(kind, 9)[0])
        assert result.instances[0].name == result.name == kind
        assert set(np.unique(result.label_map)) == {0, result.instances[0].class_id}
        assert result.type_scores.sum() == pytest.approx(1)
    door.use_examples(None)
    assert door.predict(draw("plain", 9)[0]).name == "pit"


def test_one_gallery_serves_the_next_run_and_shared_images_are_said(
    embed: RegionEmbedding, examples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    images = examples / "images"
    assert run(examples, images, tmp_path / "first") == 0
    assert "6 of the images are examples themselves" in capsys.readouterr().err
    assert run(tmp_path / "first" / "gallery", images, tmp_path / "second") == 0
    assert "are examples" not in capsys.readouterr().err
    tables = [(tmp_path / name / "answers.csv").read_text() for name in ("first", "second")]
    assert tables[0] == tables[1] and "striped" in tables[0]
    assert example_images(tmp_path / "first" / "gallery") == set()


def test_words_and_examples_of_one_name_are_joined(embed: RegionEmbedding, examples: Path) -> None:
    gallery = read_gallery(examples, embed)
    pixels, mask = draw("striped", 9)
    image = torch.from_numpy(pixels).permute(2, 0, 1) / 127.5 - 1
    region = torch.from_numpy(mask > 0)
    words = Vocabulary.parse("dent, Striped; hole")
    found = Prediction(
        label_map=region.long() * 2,
        anomaly_map=region.float(),
        image_score=1.0,
        type_scores=torch.tensor([0.2, 0.3, 0.5]),
        type_id=2,
        type_map=torch.full(region.shape, 2),
        instances=[Instance(2, 0.9, region, (16, 20, 28, 20), ((1, 0.4),))],
    )
    naming = NamesByExample(embed, gallery, words)
    assert naming.vocabulary.names == ("good", "dent", "hole", "plain")
    by_gallery = gallery.name_regions(embed(image, [region])[:, 0])
    shares = naming.shares(image, found.instances)[0]
    assert not by_gallery.is_unknown.any()
    probability = float(by_gallery.probabilities[0, gallery.names.index("striped")])
    assert shares[1] == pytest.approx((0.4 + probability) / 2)
    assert shares.sum() == pytest.approx(1)
    renamed = naming.rename(image, found)
    assert renamed.type_id == renamed.instances[0].class_id == 1
    assert renamed.type_scores[0] == pytest.approx(0.2)


def refusal(examples: Path, tmp_path: Path) -> str:
    """The one line by which predict refuses the examples."""
    Image.fromarray(draw("plain", 5)[0]).save(tmp_path / "part.png")
    with pytest.raises(ValueError) as caught:
        run(examples, tmp_path / "part.png", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (line,) = str(caught.value).splitlines()
    return line


def test_examples_without_a_mask_are_one_line(
    embed: RegionEmbedding, examples: Path, tmp_path: Path
) -> None:
    (examples / "masks" / "striped" / "1.png").unlink()
    line = refusal(examples, tmp_path)
    assert "striped/1.png: no mask or box says where the defect is: expected images/NAME/" in line


def test_a_name_that_is_unknown_is_one_line(
    embed: RegionEmbedding, examples: Path, tmp_path: Path
) -> None:
    for kind in ("images", "masks"):
        (examples / kind / "striped").rename(examples / kind / "Unknown")
    assert "got the name 'unknown', expected names of defects" in refusal(examples, tmp_path)


def test_a_gallery_of_another_encoder_is_one_line(
    embed: RegionEmbedding, examples: Path, tmp_path: Path
) -> None:
    read_gallery(examples, embed).save(tmp_path / "gallery")
    embed.fingerprint = "another"
    line = refusal(tmp_path / "gallery", tmp_path)
    assert "is of the encoder test_resnet, 32 px" in line and "expected another" in line
