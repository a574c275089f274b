"""Holds what the comparison of real and generated images says, and that it finds copies."""

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.decode import open_image
from datamodules.manifest import Manifest
from datamodules.preparing.fingerprints import fingerprint, turned
from datamodules.vocabulary import Vocabulary
from experiments.cli import call_command
from experiments.fidelity import FILES, fidelity
from experiments.generation.copies import NO_COPY, find_copies, most_similar_window
from experiments.generation.fidelity_report import COPY_COLOR, baseline, distances, diversity
from experiments.generation.views import GeneratedViews, ViewFeatures, extract_features
from lightning_modules.nets.feature_extractors import TimmExtractor
from tests.experiments.audits.small_manifest import rewritten, small_manifest
from tests.experiments.refused import refused
from tests.lightning_modules.small_weights import NET, save_net

SIDE = 24


def write_crops(manifest: Manifest, split: str, folder: Path) -> None:
    """Crops of the split's images as if a model had generated them, by type."""
    for number, row in enumerate(manifest.rows_of(split)):
        record = manifest[int(row)]
        target = folder / (record.defects or ("good",))[0] / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        image = Image.open(manifest.root / record.image)
        image.crop((0, 10, SIDE, 10 + SIDE)).save(target)


def words_for(folder: Path, *more: str, split: str = "test") -> list[str]:
    """The command line that compares crops of a split with a small manifest."""
    if not (folder / "manifest.parquet").exists():
        small_manifest(folder, count=36)
    if not (folder / "generated").exists():
        write_crops(Manifest.open(folder / "manifest.parquet"), split, folder / "generated")
        save_net(folder)
    words = {
        "real": folder / "manifest.parquet",
        "generated": folder / "generated",
        "extractor": NET,
        "weights": folder / "net.safetensors",
        "out": folder / "report",
        "device": "cpu",
    }
    return [f"--{key}={value}" for key, value in words.items()] + list(more)


def compared(folder: Path, *more: str, split: str = "test") -> dict[str, float]:
    """The figures of the report, names without their prefix."""
    call_command(fidelity, words_for(folder, *more, split=split))
    figures = json.loads((folder / "report/results.json").read_text())
    return {name.removeprefix("generation/train/"): value for name, value in figures.items()}


def red_pixels(folder: Path) -> int:
    grid = np.asarray(Image.open(folder / "report" / "nearest_neighbours.png"))
    return int((grid == COPY_COLOR).all(axis=-1).sum())


def test_report_has_figures_of_the_images_and_of_the_baseline(tmp_path: Path) -> None:
    figures = compared(tmp_path)
    kinds = ("fid", "kid", "kid_std", "is", "diversity", "nearest")
    baseline = ("fid_held_out", "kid_held_out", "nearest_held_out")
    assert all(np.isfinite(figures[f"{kind}_{NET}"]) for kind in (*kinds, *baseline))
    assert {path.name for path in (tmp_path / "report").iterdir()} == set(FILES)
    text = (tmp_path / "report/results.md").read_text()
    assert "biased upwards" in text and "weights_sha256" in text
    assert figures["copies"] == red_pixels(tmp_path) == 0


def test_copied_training_crops_are_caught_and_held_out_ones_are_not(tmp_path: Path) -> None:
    figures = compared(tmp_path, split="train")
    assert figures["copies"] == figures["views_generated"] == 12
    assert figures["copies_share_held_out"] == 0
    assert red_pixels(tmp_path) > 0


def test_crops_need_generated_squares_and_whole_real_images_that_are_real(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path, count=36)
    train = manifest.rows_of("train")[:5]
    records = [replace(manifest[row], is_generated=row in train) for row in range(36)]
    rewritten(tmp_path / "manifest.parquet", records, tmp_path / "raw")
    words = words_for(tmp_path)
    Image.new("L", (30, 20)).save(tmp_path / "generated/odd.png")
    assert "compare whole images with --real_transform whole" in refused(fidelity, *words)
    figures = compared(tmp_path, "--real_transform=whole")
    assert (figures["views_real"], figures["views_generated"]) == (7, 13)


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("--real_transform=half", "invalid choice: 'half'"),
        ("--batch_size=0", "expected 1 or more"),
        ("--split=holdout", "no real 'holdout' images, it has test, train, val"),
        ("--real=none.parquet", "none.parquet is missing"),
        ("--generated=nowhere", "holds no image"),
        ("--weights=nothing.safetensors", "nothing is downloaded"),
        ("--extractor=resnet500", "or a timm name"),
        ("--extracter=x", "did you mean --extractor"),
    ],
)
def test_wrong_words_are_one_line(tmp_path: Path, word: str, message: str) -> None:
    assert message in refused(fidelity, *words_for(tmp_path), word)


WORDS = Vocabulary.parse("crack; stain, blot; dark stain; good")


def write_images(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (32, 32), 90).save(folder / name)


def test_table_or_subfolders_tell_images_prompts_and_types(tmp_path: Path) -> None:
    write_images(tmp_path, "grid.png", *(f"images/{number}.png" for number in range(4)))
    rows: list[dict[str, object]] = [
        {"image": "images/0.png", "prompt": "Plate with blot.", "defect": None},
        {"image": "images/1.png", "prompt": "Plate with no defect."},
        {"image": "images/2.png", "prompt": "something", "defect": "crack;stain"},
        {"image": "images/3.png", "prompt": "cracked plate"},
    ]
    (tmp_path / "generated.jsonl").write_text("\n".join(map(json.dumps, rows)))
    # A folder without a table has its types as subfolders.
    write_images(tmp_path / "other", "dark_stain/a.png", "crack/b.jpg", "masks/b.png", "c.bmp")
    others = GeneratedViews(tmp_path / "other", WORDS)
    kinds = {"dark_stain/a.png": "dark stain", "crack/b.jpg": "crack", "c.bmp": ""}
    assert dict(zip(others.names, others.kinds, strict=True)) == kinds
    views = GeneratedViews(tmp_path, WORDS)
    assert views.kinds == ["stain", "good", "crack", ""]
    assert views.prompts == [row["prompt"] for row in rows]
    assert views[2].pixels.shape == (32, 32, 3) and views[2].kind == "crack"
    (tmp_path / "generated.jsonl").write_text('{"image": "a.png"}\n{"prompt": "none"}')
    with pytest.raises(ValueError, match="line 2 names no image"):
        GeneratedViews(tmp_path, WORDS)


def features_of(features: torch.Tensor, kind: str = "crack") -> ViewFeatures:
    count = len(features)
    return ViewFeatures(features, None, np.zeros((count, 48, 48), np.uint8), (kind,) * count)


def test_diversity_is_of_images_of_one_prompt_and_of_real_ones_of_its_type(seed: int) -> None:
    real = torch.randn(4, 8)
    same = features_of(real[[0] * 4])
    prompts = ["one", "one", "two", "alone"]
    found = diversity(same, features_of(real), prompts, "net")
    assert found["diversity_net"] == pytest.approx(0, abs=1e-9)
    assert found["diversity_real_net"] > 0.5
    assert found["diversity_prompts"] == 1
    assert np.isnan(diversity(same, features_of(real, "stain"), prompts, "n")["diversity_real_n"])


def test_baseline_has_as_many_images_as_were_generated() -> None:
    features = torch.randn(620, 16, generator=torch.Generator().manual_seed(0))
    real, others = features_of(features[:320]), features_of(features[320:])
    found = {count: baseline(real, others, "net", count=count, seed=0) for count in (20, 300, 999)}
    of_twenty, of_all, of_more = (one["fid_held_out_net"] for one in found.values())
    assert of_twenty > 4 * of_all and of_more == of_all
    assert [one["views_held_out_fid"] for one in found.values()] == [20, 300, 300]


def texture(seed: int, side_px: int = 160) -> np.ndarray:
    """A grey surface (side, side, 3) with detail of some pixels, like every other of its kind."""
    noise = np.random.default_rng(seed).standard_normal((side_px, side_px))
    smooth = cv2.GaussianBlur(noise, (0, 0), 3)
    grey = (128 + 40 * smooth / smooth.std()).clip(0, 255).astype(np.uint8)
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def crop(image: np.ndarray, turn: int = 0, *, left: int = 37, top: int = 61) -> np.ndarray:
    cut = image[top : top + 64, left : left + 64]
    return np.ascontiguousarray(turned(cut.transpose(2, 0, 1), turn).transpose(1, 2, 0))


def thumbnails_of(*views: np.ndarray) -> np.ndarray:
    return np.stack([fingerprint(view).thumbnail for view in views])


TRAIN = [texture(seed) for seed in range(40)]
TRAIN_CROPS = thumbnails_of(*(crop(image, left=10, top=20) for image in TRAIN))
NO_IMAGES, NO_WINDOWS = np.empty((0, 1), int), np.empty((0, 1, 48, 48), np.uint8)


@pytest.mark.parametrize("turn", [0, 1, 6])
def test_copy_is_found_in_any_turn_and_the_very_place_that_it_came_from(turn: int) -> None:
    view = crop(TRAIN[3], turn)
    window = most_similar_window(TRAIN[3], view)
    assert np.array_equal(window, crop(TRAIN[3]))
    views, windows = thumbnails_of(view, crop(texture(99))), thumbnails_of(window, window)
    found = find_copies(views, TRAIN_CROPS, np.array([[3, 3]]), windows[None])
    assert found.tolist() == [3, NO_COPY]
    noise = np.random.default_rng(0).integers(-5, 6, (64, 64, 3))
    noisy = (crop(TRAIN[7], turn, left=10, top=20) + noise).clip(0, 255).astype(np.uint8)
    assert find_copies(thumbnails_of(noisy), TRAIN_CROPS, NO_IMAGES, NO_WINDOWS).tolist() == [7]


def test_copies_are_far_nearer_than_similar_images() -> None:
    repeated = np.repeat(TRAIN_CROPS[2:3], 60, axis=0)
    others = thumbnails_of(*(crop(texture(seed)) for seed in range(100, 160)))
    even = np.full((2, 48, 48), 100, np.uint8)
    for views, expected in ((repeated, 2), (others, NO_COPY), (even, NO_COPY)):
        assert (find_copies(views, TRAIN_CROPS, NO_IMAGES, NO_WINDOWS) == expected).all()


def test_real_weights_put_tiles_before_blurred_tiles_and_noise(
    shared_data: Path, shared_weights: Path, tmp_path: Path
) -> None:
    weights = shared_weights / "mobilenetv2_100/mobilenetv2_100_same_fp16.safetensors"
    settings = {"pixel_mean": 0.5, "pixel_deviation": 0.5, "padding": "same"}
    extractor = TimmExtractor("mobilenetv2_100", weights, **settings)
    files = sorted((shared_data / "mtd").rglob("*.jpg"))[::35]
    tiles = [open_image(path)[:128, :128] for path in files if min(Image.open(path).size) >= 128]
    noise = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
    blurred = [cv2.GaussianBlur(tile, (0, 0), 4) for tile in tiles[8:16]]
    sets = {"real": tiles[:8], "tiles": tiles[8:16], "blurred": blurred, "noise": noise}
    features = []
    for name, images in sets.items():
        (tmp_path / name).mkdir()
        for number, pixels in enumerate(images):
            Image.fromarray(pixels).save(tmp_path / name / f"{number}.png")
        features.append(extract_features(extractor, GeneratedViews(tmp_path / name, WORDS), 4))
    figures = [distances(features[0], other, "net", seed=0) for other in features[1:]]
    for kind in ("fid_net", "kid_net"):
        assert figures[0][kind] < figures[1][kind] < figures[2][kind]
