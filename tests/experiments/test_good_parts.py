"""Holds the way from good parts and a few examples of each name to named masks, by two commands."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments import predictor
from experiments.cli import call_command
from experiments.predict import predict
from experiments.run import run
from experiments.tracking import read_runs
from lightning_modules.nets.region_embedding import RegionEmbedding
from tests.experiments.refused import refused
from tests.experiments.small_run import words_of
from tests.lightning_modules.small_weights import NET, save_net, write_small_clip

SETTINGS = {
    "model.weights": "random",
    "model.model_name": "test_resnet",
    "model.vectors": 400,
    "model.image_size_px": 64,
    "data.train_transform.image_size_px": 64,
    "model.blur_sigma_px": 1,
    "data.copies": "keep",
    "data.allow_leakage": True,
    "seed_declared.epochs": 150,
}


def draw(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A grey image (60, 70) with a bright plain or striped defect or none, and its mask."""
    pixels = np.random.default_rng(seed).integers(90, 110, (60, 70), dtype=np.uint8)
    mask = np.zeros_like(pixels)
    if kind != "good":
        mask[20:40, 24:48] = 255
        pixels[20:40, 24:48] = 250
    if kind == "striped":
        pixels[20:40:4] = pixels[21:40:4] = 20
    return pixels, mask


def draw_folder(folder: Path, counts: dict[str, int], first_seed: int) -> Path:
    for name, count in counts.items():
        for index in range(count):
            for kind, pixels in zip(
                ("images", "masks"), draw(name, first_seed + index), strict=True
            ):
                if kind == "images" or name != "good":
                    (folder / kind / name).mkdir(parents=True, exist_ok=True)
                    Image.fromarray(pixels).save(folder / kind / name / f"{index}.png")
    return folder


def run_bank(tmp_path: Path, counts: dict[str, int], **settings: object) -> int:
    parts = draw_folder(tmp_path / "parts", counts, 0)
    own = {"output": tmp_path, "data.manifest_folder": tmp_path / "manifests", "root": parts}
    words = words_of(own | SETTINGS | settings)
    return call_command(run, ["--config", "baselines/memory_bank.yaml", "--source=folder", *words])


def test_good_parts_and_three_examples_of_each_name_become_named_masks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_net(tmp_path)
    embed = RegionEmbedding(str(tmp_path / "net.safetensors"), NET, side_px=32)
    monkeypatch.setattr(predictor, "RegionEmbedding", lambda weights: embed)
    assert run_bank(tmp_path, {"good": 20}) == 0
    (row,) = read_runs(tmp_path, "tiny")
    assert row.tags["backbone_weights"] == "random" and row.tags["seed_declared.epochs"] == "150"
    examples = draw_folder(tmp_path / "examples", {"plain": 3, "striped": 3}, 100)
    new = draw_folder(tmp_path / "new", {"good": 2, "plain": 2, "striped": 2}, 200)
    words = {"checkpoint": tmp_path / "runs" / "memory_bank", "images": new / "images"}
    more = {"examples": examples, "out": tmp_path / "out", "device": "cpu"}
    assert call_command(predict, words_of(words | more)) == 0
    with (tmp_path / "out" / "answers.csv").open(newline="", encoding="utf-8") as file:
        answers = {line["image"]: line["answer"] for line in csv.DictReader(file)}
    assert {answers[f"good/{number}.png"] for number in (0, 1)} == {"good"}
    names = {name for image, name in answers.items() if not image.startswith("good")}
    assert names <= {"plain", "striped", "unknown"}
    found = json.loads((tmp_path / "out" / "predictions.json").read_text())
    boxes = {one["image_id"]: one["bbox"] for one in reversed(found["annotations"])}
    assert len(boxes) == 4
    assert all(x < 36 < x + width and y < 30 < y + height for x, y, width, height in boxes.values())
    again = {"root": examples, "output": tmp_path, "from": words["checkpoint"], "name": "again"}
    line = ["--config", "baselines/memory_bank.yaml", "--source=folder", *words_of(again)]
    assert "a MemoryBank learns good parts anew" in refused(run, *line)


def test_images_that_are_scored_among_each_other_are_predicted_by_one_command(
    tmp_path: Path,
) -> None:
    parts = draw_folder(tmp_path / "parts", {"good": 40}, 0)
    own = {"output": tmp_path, "data.manifest_folder": tmp_path / "manifests", "root": parts}
    net = {"model.tokens.weights": "random", "model.tokens.model_name": "test_resnet"}
    shared = {key: SETTINGS[key] for key in SETTINGS if key.endswith(("size_px", "copies"))}
    words = words_of(own | net | shared | {"data.allow_leakage": True, "data.image_budget": 8})
    line = ["--config", "baselines/musc_tiny.yaml", "--source=folder", *words]
    assert call_command(run, line) == 0
    new = draw_folder(tmp_path / "new", {"good": 6, "plain": 1}, 200)
    checkpoint = {"checkpoint": tmp_path / "runs" / "musc_tiny", "device": "cpu"}
    answers = {"images": new / "images", "out": tmp_path / "out"}
    assert call_command(predict, words_of(checkpoint | answers)) == 0
    with (tmp_path / "out" / "answers.csv").open(newline="", encoding="utf-8") as file:
        scores = {line["image"]: float(line["image_score"]) for line in csv.DictReader(file)}
    assert len(scores) == 7 and max(scores, key=lambda name: scores[name]) == "plain/0.png"
    few = words_of(checkpoint | {"images": new / "images" / "plain", "out": tmp_path / "few"})
    assert "got 1 images to score among each other, expected 5 or more" in refused(predict, *few)


def test_four_good_parts_teach_prompts_and_one_too_few_is_one_line(tmp_path: Path) -> None:
    parts = draw_folder(tmp_path / "parts", {"good": 20, "plain": 4}, 0)
    own = {"output": tmp_path, "data.manifest_folder": tmp_path / "manifests", "root": parts}
    shared = {key: SETTINGS[key] for key in SETTINGS if key.startswith("data")}
    clip = {"model.pretrained": write_small_clip(tmp_path / "clip"), "model.image_size_px": 64}
    more = {"model.gallery_layers": "[0, 1]", "trainer.max_epochs": 2}
    words = words_of(own | shared | clip | more)
    line = ["--config", "baselines/prompt_ad.yaml", "--source=folder", *words]
    assert call_command(run, line) == 0
    [row] = read_runs(tmp_path, "paper")
    assert (row.tags["shots"], row.tags["seed_declared.prompts"]) == ("4", "0.8 M weights")
    new = draw_folder(tmp_path / "new", {"good": 2, "plain": 1}, 200)
    checkpoint = {"checkpoint": tmp_path / "runs" / "prompt_ad", "device": "cpu"}
    answers = {"images": new / "images", "out": tmp_path / "out"}
    assert call_command(predict, words_of(checkpoint | answers)) == 0
    with (tmp_path / "out" / "answers.csv").open(newline="", encoding="utf-8") as file:
        scores = {line["image"]: float(line["image_score"]) for line in csv.DictReader(file)}
    assert max(scores, key=lambda name: scores[name]) == "plain/0.png"
    said = refused(run, *line, *words_of({"data.image_budget": 3, "name": "few"}))
    assert "got 3 good images, expected 4: set data.init_args.image_budget" in said


def test_words_without_examples_name_nothing_and_are_refused(tmp_path: Path) -> None:
    assert run_bank(tmp_path, {"good": 20}) == 0
    words = {
        "checkpoint": tmp_path / "runs" / "memory_bank",
        "images": tmp_path / "parts" / "images",
    }
    line = words_of(words | {"labels": "crack", "out": tmp_path / "out"})
    assert "leave the labels out, it names by examples alone" in refused(predict, *line)


def test_data_without_good_parts_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no good training images, expected some"):
        run_bank(tmp_path, {"plain": 9, "striped": 9})
