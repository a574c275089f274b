"""Claims about the command that turns a data set's original layout into a manifest."""

import csv
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.about import source_class_path
from datamodules.manifest import Manifest
from experiments.command import run_command
from experiments.prepare import main


@pytest.fixture
def tiles(tmp_path: Path) -> Path:
    """Magnetic tiles in the original layout: 8 runs of 2 cracks, 8 runs of 2 good tiles."""
    root = tmp_path / "raw"
    for number in range(32):
        folder = root / ("MT_Crack" if number % 4 < 2 else "MT_Free") / "Imgs"
        folder.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (30, 40), dtype=np.uint8)
        mask = np.zeros((30, 40), np.uint8)
        mask[10:20, 5:15] = 255 if number % 4 < 2 else 0
        name = f"exp1_num_{1000 * (number // 2) + number % 2}"
        Image.fromarray(pixels).save(folder / f"{name}.jpg")
        Image.fromarray(mask).save(folder / f"{name}.png")
    return root


def steel(root: Path, count: int = 2) -> Path:
    """NEU-Seg pictures for training and a last one for test, in the original layout."""
    for number in range(count):
        split = "training" if number < count - 1 else "test"
        for folder, suffix in (("images", "jpg"), ("annotations", "png")):
            path = root / folder / split / f"00000{number}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 2, (20, 20), dtype=np.uint8)
            Image.fromarray(pixels * (255 if suffix == "jpg" else 1)).save(path)
    return root


def prepare(source: str, root: Path, out: Path, *more: str) -> int:
    return main(["--source", source, "--root", str(root), "--out", str(out), *more])


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def one_line_error(
    words: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> str:
    """What the command says on stderr, after checking its exit code and that it is one line."""
    monkeypatch.setattr(sys, "argv", ["prepare", *words])
    with pytest.raises(SystemExit) as ended:
        run_command(main)
    lines = capsys.readouterr().err.splitlines()
    assert (ended.value.code, len(lines)) == (2, 1)
    return lines[0]


def test_manifest_holds_all_pictures_with_splits(tiles: Path, tmp_path: Path) -> None:
    assert prepare("mtd", tiles, tmp_path / "out") == 0
    manifest = Manifest.open(tmp_path / "out" / "manifest.parquet")
    counts = [len(manifest.rows_of(split)) for split in ("train", "val", "test")]
    assert sum(counts) == 32
    assert min(counts) >= 4
    assert manifest.root == tiles


def test_table_says_images_per_type_groups_and_hash(
    tiles: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare("mtd", tiles, tmp_path / "out")
    said = capsys.readouterr().out
    assert "32 in 16 groups" in said
    assert Manifest.open(tmp_path / "out" / "manifest.parquet").sha256 in said
    row = next(line for line in said.splitlines() if "crack" in line)
    assert row.replace("│", " ").split()[-1] == "16"


def test_originals_are_untouched_and_the_index_is_written(tiles: Path, tmp_path: Path) -> None:
    before = contents(tiles)
    prepare("mtd", tiles, tmp_path / "out")
    assert contents(tiles) == before
    assert sorted(p.name for p in (tmp_path / "out").iterdir() if p.name[0] != ".") == [
        "dataset_card.md",
        "manifest.parquet",
        "manifest.quarantine.csv",
    ]


def test_same_arguments_give_the_same_bytes(tiles: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        prepare("mtd", tiles, tmp_path / name)
    first, second = (tmp_path / name / "manifest.parquet" for name in ("one", "two"))
    assert first.read_bytes() == second.read_bytes()


def test_another_split_seed_is_another_split(tiles: Path, tmp_path: Path) -> None:
    prepare("mtd", tiles, tmp_path / "one")
    prepare("mtd", tiles, tmp_path / "two", "--split_seed", "3")
    first, second = (Manifest.open(tmp_path / n / "manifest.parquet") for n in ("one", "two"))
    assert first.split_sha256 != second.split_sha256


def test_shares_reach_the_split(tiles: Path, tmp_path: Path) -> None:
    shares = ["--train_fraction=0.5", "--val_fraction=0.25", "--test_fraction=0.25"]
    prepare("mtd", tiles, tmp_path / "out", *shares)
    manifest = Manifest.open(tmp_path / "out" / "manifest.parquet")
    assert [len(manifest.rows_of(s)) for s in ("train", "val", "test")] == [16, 8, 8]


def test_settings_reach_the_source(tmp_path: Path) -> None:
    more = ["--source.init_args.image_count", "9", "--source.init_args.image_size_px=64"]
    prepare("synthetic", tmp_path / "raw", tmp_path / "out", *more)
    assert len(Manifest.open(tmp_path / "out" / "manifest.parquet")) == 9


def test_refusal_of_the_source_is_its_own_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^synthetic image_count is 0: expected 1 or more$"):
        prepare("synthetic", tmp_path, tmp_path / "out", "--source.init_args.image_count", "0")


def test_name_of_a_source_is_its_file_and_camel_case() -> None:
    assert source_class_path("neu_seg") == "datamodules.sources.neu_seg.NeuSeg"
    assert source_class_path("my.parts.Parts") == "my.parts.Parts"


def test_unknown_source_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean synthetic"):
        source_class_path("sinthetic")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "--source is missing"),
        (["--source", "mtd", "--root", "a"], "--out is missing"),
        (["--source", "mtd", "--rot", "a"], "did you mean root"),
        (["--source", "mtd", "--root"], "--root has no value"),
        (
            ["--source", "synthetic", "--root", "a", "--out", "b", "--source.init_args.sed", "1"],
            "did you mean seed",
        ),
        (
            ["--source", "mtd", "--root", "a", "--out", "b", "--train_fraction", "most"],
            "train_fraction: got 'most', expected float",
        ),
        (["--source", "json.JSONDecoder", "--root", "a", "--out", "b"], "subclass of Source"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message) as caught:
        main(words)
    assert "\n" not in str(caught.value)


def test_value_that_is_not_yaml_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"--split_seed: got '{'"):
        prepare("mtd", tmp_path, tmp_path / "out", "--split_seed", "{")


def test_missing_root_ends_with_one_line_and_code_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--source=mtd", f"--root={tmp_path}/nowhere", f"--out={tmp_path}/out"]
    assert "nowhere" in one_line_error(words, monkeypatch, capsys)
    assert list(tmp_path.iterdir()) == []


def test_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty holds no MT_"):
        prepare("mtd", tmp_path / "empty", tmp_path / "out")


def quarantined(out: Path) -> list[list[str]]:
    with (out / "manifest.quarantine.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def test_bad_picture_is_quarantined_with_its_reason(tiles: Path, tmp_path: Path) -> None:
    image = next((tiles / "MT_Crack" / "Imgs").glob("*.jpg"))
    image.write_bytes(image.read_bytes()[:300])
    prepare("mtd", tiles, tmp_path / "out")
    assert len(Manifest.open(tmp_path / "out" / "manifest.parquet")) == 31
    ((name, source, kind, reason),) = quarantined(tmp_path / "out")
    assert (name, source, kind) == (f"MT_Crack/Imgs/{image.name}", "mtd", "refused")
    assert "not a readable image" in reason


def test_bad_picture_is_an_error_where_that_is_asked(tiles: Path, tmp_path: Path) -> None:
    Image.new("1", (11_000, 11_000)).save(next((tiles / "MT_Free" / "Imgs").glob("*.png")))
    with pytest.raises(ValueError, match=r"1 of 32 .* more than 100 megapixels"):
        prepare("mtd", tiles, tmp_path / "out", "--on_bad", "error")
    assert not (tmp_path / "out" / "manifest.parquet").exists()


def test_too_many_bad_pictures_are_an_error_that_names_them_all(
    tiles: Path, tmp_path: Path
) -> None:
    for mask in (tiles / "MT_Crack" / "Imgs").glob("*.png"):
        Image.new("L", (31, 40), 255).save(mask)
    with pytest.raises(ValueError, match=r"16 of 32 .* allow more with --max_bad_fraction"):
        prepare("mtd", tiles, tmp_path / "out")
    assert len(quarantined(tmp_path / "out")) == 16
    assert not (tmp_path / "out" / "manifest.parquet").exists()


def test_copy_of_a_test_picture_leaves_the_training_split(tmp_path: Path) -> None:
    root = steel(tmp_path / "steel", count=6)
    turned = Image.open(root / "images" / "test" / "000005.jpg").rotate(90)
    turned.save(root / "images" / "training" / "000000.jpg", quality=95)
    prepare("neu_seg", root, tmp_path / "out")
    manifest = Manifest.open(tmp_path / "out" / "manifest.parquet")
    assert (len(manifest), manifest.leaks) == (5, 0)
    ((name, _, kind, reason),) = quarantined(tmp_path / "out")
    assert (name, kind) == ("images/training/000000.jpg", "copy")
    assert "000005.jpg (test)" in reason


def test_kept_copies_are_counted_as_leaks(tmp_path: Path) -> None:
    root = steel(tmp_path / "steel", count=6)
    image = (root / "images" / "test" / "000005.jpg").read_bytes()
    (root / "images" / "training" / "000000.jpg").write_bytes(image)
    prepare("neu_seg", root, tmp_path / "out", "--copies", "keep")
    manifest = Manifest.open(tmp_path / "out" / "manifest.parquet")
    assert (len(manifest), manifest.leaks) == (6, 1)


def test_unwritable_output_is_refused_before_the_work(tiles: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="choose another folder with --out"):
        prepare("mtd", tiles, tmp_path / "file" / "out")
    assert (tmp_path / "file").read_text() == "mine"


def test_failure_keeps_the_manifest_of_before(tiles: Path, tmp_path: Path) -> None:
    prepare("mtd", tiles, tmp_path / "out")
    before = contents(tmp_path / "out")
    next((tiles / "MT_Crack" / "Imgs").glob("*.png")).unlink()
    with pytest.raises(ValueError, match=r"png is missing"):
        prepare("mtd", tiles, tmp_path / "out", "--on_bad", "error")
    manifest = tmp_path / "out" / "manifest.parquet"
    assert manifest.read_bytes() == before[str(manifest)]
