"""`prepare` turns a data set's original layout into a manifest, a quarantine list and a card."""

import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.decode import open_image
from datamodules.manifest import COLUMNS, Manifest
from experiments.cli import call_command, run_command
from experiments.prepare import prepare
from tests.datamodules.sources.own_layouts import YOLO_BOX, add_yolo, write_text
from tests.datamodules.sources.painting import save

Run = Callable[..., Manifest]


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Sixteen images of 60 x 120 px in a user's folder, every second one with a crack."""
    for number in range(16):
        kind = "crack" if number % 2 else "good"
        pixels = np.random.default_rng(number).integers(0, 255, (60, 120))
        mask = np.zeros((60, 120))
        mask[20:30, 5:25] = 255 if number % 2 else 0
        save(tmp_path / "raw" / "images" / kind / f"{number:02}.png", pixels)
        save(tmp_path / "raw" / "masks" / kind / f"{number:02}.png", mask)
    return tmp_path / "raw"


@pytest.fixture
def run(parts: Path, tmp_path: Path) -> Run:
    """A function that prepares the parts with more words; the manifest."""

    def run_with(*more: str, out: str = "out") -> Manifest:
        folder = tmp_path / out
        words = ["--source", "folder", "--root", str(parts), "--out", str(folder), *more]
        assert call_command(prepare, words) == 0
        return Manifest.open(folder / "manifest.parquet")

    return run_with


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def quarantined(out: Path) -> list[list[str]]:
    with (out / "manifest.quarantine.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.reader(file))[1:]


def test_manifest_and_card_are_written_and_originals_are_untouched(run, parts, tmp_path, capsys):
    before = contents(parts)
    manifest = run()
    counts = [len(manifest.rows_of(split)) for split in ("train", "val", "test")]
    assert sum(counts) == 16 and min(counts) >= 2 and manifest.root == parts
    assert contents(parts) == before
    found = sorted(p.name for p in (tmp_path / "out").iterdir() if p.name[0] != ".")
    lists = ["manifest.leftovers.csv", "manifest.parquet", "manifest.quarantine.csv"]
    assert found == ["dataset_card.md", *lists]
    said = capsys.readouterr().out
    assert "16 in 16 groups" in said and manifest.sha256 in said
    row = next(line for line in said.splitlines() if "crack" in line)
    assert row.replace("│", " ").split()[-1] == "8"
    card = (tmp_path / "out" / "dataset_card.md").read_text(encoding="utf-8")
    assert "16 images in 16 groups" in card and "0 unusable, 0 copies" in card
    assert all(f"| {name} |" in card for name in COLUMNS)


def test_every_type_that_an_image_shows_is_counted_and_told_where_it_is_never_tested(
    tmp_path, capsys
):
    write_text(tmp_path / "raw/data.yaml", "names: [scratch, dent]\n")
    for number in range(12):
        small = "1 0.8 0.8 0.1 0.1\n" if number == 0 else ""
        add_yolo(tmp_path / "raw", f"{number}.png", f"{YOLO_BOX}\n{small}")
    out = tmp_path / "out"
    assert call_command(prepare, f"--source yolo --root {tmp_path}/raw --out {out}".split()) == 0
    said = capsys.readouterr().out
    rows = [line.replace("│", " ").split() for line in said.splitlines() if "│" in line]
    assert {row[0]: row[-1] for row in rows} == {
        "scratch": "12", "dent": "1", "all": "12", "groups": "12"
    }  # fmt: skip
    note = "1 x 'dent' is trained on and never tested: add groups of images that show it"
    card = (out / "dataset_card.md").read_text(encoding="utf-8")
    assert note in said and note in card and "| dent | 1 |" in card


def test_group_pattern_that_is_in_no_path_is_refused_and_in_some_noted(tmp_path, capsys):
    write_text(tmp_path / "raw/data.yaml", "names: [scratch]\n")
    for number in range(12):
        add_yolo(tmp_path / "raw", f"{'board' * (number > 2)}{number}.png", YOLO_BOX)
    words = f"--source yolo --root {tmp_path}/raw --out {tmp_path}/out".split()
    with pytest.raises(
        ValueError, match=r"group_pattern '\^board' is in none of 12 paths, .*images/"
    ):
        call_command(prepare, [*words, "--source.group_pattern", "^board"])
    assert call_command(prepare, [*words, "--source.group_pattern", "(board)"]) == 0
    said = capsys.readouterr().out
    assert "12 in 4 groups" in said
    assert "3 x group_pattern '(board)' is not in an image's path" in said


def test_same_arguments_give_the_same_bytes_and_another_seed_another_split(run):
    first, second, third = run(out="1"), run(out="2"), run("--split_seed", "3", out="3")
    assert first.path.read_bytes() == second.path.read_bytes()
    assert first.split_sha256 != third.split_sha256


def test_shares_and_settings_of_the_source_reach_their_place(run):
    shares = ["--train_fraction=0.5", "--val_fraction=0.25", "--test_fraction=0.25"]
    manifest = run(*shares, "--source.product", "plate", "--source.init_args.licence=CC0")
    assert [len(manifest.rows_of(s)) for s in ("train", "val", "test")] == [8, 4, 4]
    assert set(manifest.caption_column("product")) == {"plate"}
    assert set(manifest.column("licence")) == {"CC0"}


WHOLE = ("--source", "synthetic", "--root", "a", "--out", "b")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "required: --source, --root, --out"),
        ((*WHOLE[:5], "b", "--rot", "a"), "did you mean root"),
        ((*WHOLE, "--split_seed"), "--split_seed: expected one argument"),
        ((*WHOLE, "--source.sed", "1"), "did you mean seed"),
        ((*WHOLE, "--source.seed", "{"), "seed: got '{', expected int"),
        ((*WHOLE, "--source.image_count", "0"), "synthetic image_count is 0: expected 1 or more"),
        ((*WHOLE, "--train_fraction", "most"), "train_fraction: got 'most', expected number"),
        ((*WHOLE, "--max_bad_fraction", "nan"), "max_bad_fraction: got 'nan', expected number"),
        ((*WHOLE, "--copies", "none"), "choose from"),
        (("--source", "json.JSONDecoder", *WHOLE[2:]), "subclass of Source"),
        (("--source", "sinthetic", *WHOLE[2:]), "did you mean synthetic"),
        (("--source", "mtd", *WHOLE[2:]), "root a is missing: expected MT_"),
        ((*WHOLE[:5], "/dev/null/b"), "choose another folder with --out"),
    ],
)
def test_wrong_words_are_one_line_with_code_2(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["prepare", *words])
    with pytest.raises(SystemExit) as ended:
        run_command(prepare)
    (line,) = capsys.readouterr().err.splitlines()
    assert ended.value.code == 2 and message in line
    assert list(tmp_path.iterdir()) == []


def test_bad_image_is_quarantined_or_an_error_that_keeps_the_manifest(run, parts, tmp_path):
    before = run().path.read_bytes()
    image = parts / "images" / "crack" / "01.png"
    image.write_bytes(image.read_bytes()[:300])
    with pytest.raises(ValueError, match=r"1 of 16 .*not a readable image"):
        run("--on_bad", "error")
    assert (tmp_path / "out" / "manifest.parquet").read_bytes() == before
    assert len(run("--max_bad_fraction", "0.1")) == 15
    ((name, source, kind, reason),) = quarantined(tmp_path / "out")
    assert (name, source, kind) == ("images/crack/01.png", "folder", "refused")
    assert "not a readable image" in reason


def test_copy_of_a_test_image_leaves_training_unless_it_is_kept(tmp_path, capsys):
    root = tmp_path / "steel"
    for number in range(6):
        split = "training" if number < 5 else "test"
        pixels = np.random.default_rng(number).integers(0, 255, (20, 20))
        save(root / "images" / split / f"00000{number}.jpg", pixels)
        save(root / "annotations" / split / f"00000{number}.png", np.ones((20, 20)))
    turned = Image.open(root / "images" / "test" / "000005.jpg").rotate(90)
    turned.save(root / "images" / "training" / "000000.jpg", quality=95)
    out = tmp_path / "out"
    words = ["--source", "neu_seg", "--root", str(root), "--out", str(out)]
    for copies, count, leaks in (("drop", 5, 0), ("keep", 6, 1)):
        call_command(prepare, [*words, "--copies", copies])
        manifest = Manifest.open(out / "manifest.parquet")
        assert (len(manifest), manifest.leaks) == (count, leaks)
        card = (out / "dataset_card.md").read_text(encoding="utf-8")
        assert f"{6 - count} copies" in card and "NEU" in card
    assert "000005.jpg (test)" in capsys.readouterr().out


def test_tiles_are_indexed_and_stay_with_their_image(run):
    manifest = run("--tile_px", "60", "--tile_overlap_px", "0")
    records = [manifest[row] for row in range(len(manifest))]
    assert len(records) == 32
    assert sum(bool(record.defects) for record in records) == 8
    assert len({(record.image, record.split) for record in records}) == 16


def test_changed_copies_are_indexed_and_originals_stay(run, parts, tmp_path):
    exif = Image.Exif()
    exif[0x010E] = "serial 4711"
    path = parts / "images" / "good" / "00.png"
    Image.open(path).save(path, exif=exif)
    before = contents(parts)
    table = tmp_path / "redactions.csv"
    table.write_text("image,left,top,width,height\nimages/good/00.png,50,10,40,20\n")
    manifest = run("--longest_side_px", "60", "--strip_metadata", "--redactions", str(table))
    assert (manifest[0].width_px, manifest[0].height_px) == (60, 30)
    assert manifest.root.parent == tmp_path / "out" and contents(parts) == before
    assert not any(b"4711" in copy.read_bytes() for copy in manifest.root.rglob("*.png"))
    (name,) = (image for image in manifest.column("image") if image.startswith("images/good/00"))
    assert len(np.unique(open_image(manifest.root / name)[6:14, 26:44])) == 1


def test_killed_run_goes_on_with_what_was_inspected(run, parts, tmp_path):
    for number in range(16, 300):
        pixels = np.random.default_rng(number % 9).integers(0, 255, (60, 120))
        save(parts / "images" / "good" / f"{number}.png", np.roll(pixels, number, axis=1))
    out = tmp_path / "out"
    words = ["--source", "folder", "--root", str(parts), "--out", str(out), "--copies", "keep"]
    process = subprocess.Popen([sys.executable, "-m", "experiments.prepare", *words])
    patience = time.monotonic() + 60
    while not (out / ".inspections.db").is_file() and time.monotonic() < patience:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert len(run("--copies", "keep")) == 300


def test_settings_of_a_source_are_listed(capsys):
    words = ["--source", "coco", "--root", "none", "--out", "none", "--source.help"]
    assert call_command(prepare, words) == 0
    assert "group_pattern" in capsys.readouterr().out
