"""Claims about the command that compares real and generated pictures."""

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
from datamodules.transforms import to_tensor
from experiments.fidelity import main
from experiments.judging.fidelity_measures import Settings, measure_distance
from experiments.judging.picture_sets import TensorPictures, describe
from experiments.runs import read_runs
from lightning_modules.nets.feature_extractors import TimmExtractor
from tests.experiments.audits.small_manifest import rewritten, small_manifest
from tests.lightning_modules.small_weights import NET, save_net

SIDE = 24


def tile_files(data: Path) -> list[Path]:
    """Real magnetic tiles of many parts, large enough for crops of 128 px."""
    files = sorted((data / "mtd").rglob("*.jpg"))[::35]
    large = [path for path in files if min(Image.open(path).size) >= 128]
    return large[:16]


def write_crops(manifest: Manifest, split: str, folder: Path) -> None:
    """Crops of the split's pictures as if a model had generated them, by type."""
    for number, row in enumerate(manifest.rows_of(split)):
        record = manifest[int(row)]
        target = folder / (record.defects or ("good",))[0] / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        picture = Image.open(manifest.root / record.image)
        picture.crop((0, 10, SIDE, 10 + SIDE)).save(target)


def compared(folder: Path, *more: str, split: str = "test") -> dict[str, float]:
    """The figures of crops of a split against a small manifest, names without their prefix."""
    if not (folder / "manifest.parquet").exists():
        write_crops(small_manifest(folder, count=36), split, folder / "generated")
        save_net(folder)
    words = {
        "real": folder / "manifest.parquet",
        "generated": folder / "generated",
        "extractor": NET,
        "weights": folder / "net.safetensors",
        "out": folder / "report",
    }
    assert main([f"--{key}={value}" for key, value in words.items()] + list(more)) == 0
    figures = json.loads((folder / "report/results.json").read_text())
    return {name.split("/")[-1]: value for name, value in figures.items()}


def test_report_has_figures_words_and_pictures(tmp_path: Path) -> None:
    figures = compared(tmp_path)
    for kind in ("fid", "kid", "kid_std", "is", "diversity", "nearest", "fid_held_out"):
        assert np.isfinite(figures[f"{kind}_{NET}"])
    assert {path.name for path in (tmp_path / "report").iterdir()} == {
        "results.json",
        "results.md",
        "real_and_generated.png",
        "nearest_neighbours.png",
    }
    text = (tmp_path / "report/results.md").read_text()
    assert "biased upwards" in text and "weights_sha256" in text


def test_copied_training_crops_are_caught_and_held_out_ones_are_not(tmp_path: Path) -> None:
    figures = compared(tmp_path, split="train")
    assert figures["copies"] == figures["views_generated"] == 12
    assert figures["copies_share_held_out"] == 0


def test_whole_pictures_are_compared_squeezed(tmp_path: Path) -> None:
    figures = compared(tmp_path, "--real_transform=whole")
    assert figures["views_real"] == 12


def test_more_views_are_cut_where_asked(tmp_path: Path) -> None:
    assert compared(tmp_path, "--views_per_picture=3")["views_real"] == 36


def test_generated_records_never_stand_for_real_ones(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path, count=36)
    write_crops(manifest, "test", tmp_path / "generated")
    save_net(tmp_path)
    train = manifest.rows_of("train")[:5]
    records = [replace(manifest[row], is_generated=row in train) for row in range(36)]
    rewritten(tmp_path / "manifest.parquet", records, tmp_path / "raw")
    assert compared(tmp_path)["views_real"] == 7


def test_tracked_run_has_the_figures(tmp_path: Path) -> None:
    output = tmp_path / "mlruns"
    figures = compared(tmp_path, "--experiment=quality", f"--output={output}")
    (run,) = read_runs(output, "quality")
    assert run.metrics[f"generation/train/fid_{NET}"] == pytest.approx(figures[f"fid_{NET}"])
    assert run.params["real_transform"] == "crop"
    assert run.status == "FINISHED"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--real_transform=half"], "expected crop or whole"),
        (["--views_per_picture=0"], "expected 1 or more"),
        (["--real_transform=whole", "--views_per_picture=2"], "a whole picture has one view"),
        (["--split=holdout"], "no real 'holdout' pictures, it has test, train, val"),
        (["--real=none.parquet"], "none.parquet is missing"),
        (["--generated=nowhere"], "holds no picture"),
        (["--weights=nothing.safetensors"], "nothing is downloaded"),
        (["--extractor=resnet500"], "or a timm name such as"),
        (["--extracter=x"], "see --help"),
    ],
)
def test_wrong_words_are_one_line(tmp_path: Path, words: list[str], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        compared(tmp_path, *words)
    assert "\n" not in str(caught.value)


def test_crops_need_generated_squares_of_one_size(tmp_path: Path) -> None:
    compared(tmp_path)
    Image.new("L", (30, 20)).save(tmp_path / "generated/odd.png")
    with pytest.raises(ValueError, match="compare whole pictures with --real_transform whole"):
        compared(tmp_path, "--overwrite")
    assert compared(tmp_path, "--overwrite", "--real_transform=whole")["views_generated"] == 13


def test_real_weights_put_tiles_before_blurred_tiles_and_noise(
    shared_data: Path, shared_weights: Path
) -> None:
    weights = shared_weights / "mobilenetv2_100/mobilenetv2_100_same_fp16.safetensors"
    settings = {"pixel_mean": 0.5, "pixel_deviation": 0.5, "padding": "same"}
    extractor = TimmExtractor("mobilenetv2_100", weights, **settings)
    tiles = [open_image(path)[:128, :128] for path in tile_files(shared_data)]
    noise = np.random.default_rng(0).integers(0, 256, (8, 128, 128, 3), dtype=np.uint8)
    blurred = [cv2.GaussianBlur(tile, (0, 0), 4) for tile in tiles[8:]]
    real, *others = (
        describe(extractor, TensorPictures(torch.stack([to_tensor(p) for p in pictures]), [""] * 8))
        for pictures in (tiles[:8], tiles[8:], blurred, noise)
    )
    figures = [
        measure_distance(real, other, extractor="net", settings=Settings()) for other in others
    ]
    for kind in ("fid_net", "kid_net"):
        assert figures[0][kind] < figures[1][kind] < figures[2][kind]
