"""Claims about the command that turns a data set's original layout into a manifest."""

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.manifest import Manifest
from experiments.command import run_command
from experiments.prepare import expand_source, main


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


def steel(root: Path) -> Path:
    """One NEU-Seg picture for training and one for test, in the original layout."""
    for number, split in enumerate(("training", "test")):
        for folder, suffix in (("images", "jpg"), ("annotations", "png")):
            path = root / folder / split / f"00000{number}.{suffix}"
            path.parent.mkdir(parents=True)
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


def test_originals_are_untouched_and_only_the_manifest_is_written(
    tiles: Path, tmp_path: Path
) -> None:
    before = contents(tiles)
    prepare("mtd", tiles, tmp_path / "out")
    assert contents(tiles) == before
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["manifest.parquet"]


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
    assert expand_source("neu_seg") == "datamodules.sources.neu_seg.NeuSeg"
    assert expand_source("my.parts.Parts") == "my.parts.Parts"


def test_unknown_source_names_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean synthetic"):
        expand_source("sinthetic")


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
    assert "nowhere is missing" in one_line_error(words, monkeypatch, capsys)
    assert list(tmp_path.iterdir()) == []


def test_image_bomb_ends_with_one_line_and_code_2(
    tiles: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    mask = next((tiles / "MT_Free" / "Imgs").glob("*.png"))
    Image.new("1", (11_000, 11_000)).save(mask)
    words = ["--source=mtd", f"--root={tiles}", f"--out={tmp_path}/out"]
    assert "more than 100 megapixels" in one_line_error(words, monkeypatch, capsys)
    assert not (tmp_path / "out").exists()


def test_empty_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match=r"empty holds no MT_"):
        prepare("mtd", tmp_path / "empty", tmp_path / "out")


def test_truncated_image_leaves_no_output(tiles: Path, tmp_path: Path) -> None:
    image = next((tiles / "MT_Crack" / "Imgs").glob("*.jpg"))
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(ValueError, match=rf"{image.name} is not a readable picture"):
        prepare("mtd", tiles, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_mask_of_another_size_leaves_no_output(tiles: Path, tmp_path: Path) -> None:
    mask = next((tiles / "MT_Crack" / "Imgs").glob("*.png"))
    Image.new("L", (31, 40), 255).save(mask)
    with pytest.raises(ValueError, match="is 31x40 px, expected its image's 40x30 px"):
        prepare("mtd", tiles, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_mask_with_unknown_ids_leaves_no_output(tmp_path: Path) -> None:
    root = steel(tmp_path / "steel")
    Image.new("L", (20, 20), 9).save(root / "annotations" / "test" / "000001.png")
    with pytest.raises(ValueError, match=r"000001\.png holds the unknown id 9"):
        prepare("neu_seg", root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_unwritable_output_is_refused_before_the_work(tiles: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OSError, match="choose another folder with --out"):
        prepare("mtd", tiles, tmp_path / "file" / "out")
    assert (tmp_path / "file").read_text() == "mine"


def test_failure_keeps_the_manifest_of_before(tiles: Path, tmp_path: Path) -> None:
    prepare("mtd", tiles, tmp_path / "out")
    before = contents(tmp_path / "out")
    next((tiles / "MT_Crack" / "Imgs").glob("*.png")).unlink()
    with pytest.raises(FileNotFoundError, match=r"mask .* is missing"):
        prepare("mtd", tiles, tmp_path / "out")
    assert contents(tmp_path / "out") == before
