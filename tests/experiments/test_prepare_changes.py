"""Options of prepare that index changed copies or tiles, and a run that is killed in the middle."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.decode import open_image
from datamodules.manifest import Manifest
from experiments.prepare import main
from tests.datamodules.sources.painting import save


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    """Twelve pictures of 60 x 120 px in a user's folder, every second one with a crack."""
    for number in range(12):
        kind = "crack" if number % 2 else "good"
        pixels = np.random.default_rng(number).integers(0, 255, (60, 120))
        mask = np.zeros((60, 120))
        mask[20:30, 5:25] = 255 if number % 2 else 0
        save(tmp_path / "raw" / "images" / kind / f"{number:02}.png", pixels)
        save(tmp_path / "raw" / "masks" / kind / f"{number:02}.png", mask)
    return tmp_path / "raw"


def prepared(parts: Path, *more: str) -> Manifest:
    out = parts.parent / "out"
    main(["--source", "folder", "--root", str(parts), "--out", str(out), *more])
    return Manifest.open(out / "manifest.parquet")


def test_tiles_are_indexed_and_stay_with_their_picture(parts: Path) -> None:
    manifest = prepared(parts, "--tile_px", "60", "--tile_overlap_px", "0")
    records = [manifest[row] for row in range(len(manifest))]
    assert len(records) == 24
    assert sum(bool(record.defects) for record in records) == 6
    splits = {(record.image, record.split) for record in records}
    assert len(splits) == 12


def test_shrunk_copies_are_indexed_and_originals_stay(parts: Path) -> None:
    before = {path: path.read_bytes() for path in parts.rglob("*.png")}
    manifest = prepared(parts, "--longest_side_px", "60")
    assert (manifest[0].width_px, manifest[0].height_px) == (60, 30)
    assert manifest.root.parent == parts.parent / "out"
    assert {path: path.read_bytes() for path in parts.rglob("*.png")} == before


def test_redacted_pictures_are_the_ones_indexed(parts: Path) -> None:
    table = parts.parent / "redactions.csv"
    table.write_text("image,left,top,width,height\nimages/good/00.png,50,10,40,20\n")
    manifest = prepared(parts, "--redactions", str(table))
    (name,) = (image for image in manifest.column("image") if image.startswith("images/good/00"))
    assert len(np.unique(open_image(manifest.root / name)[10:30, 50:90])) == 1


def test_metadata_are_stripped(parts: Path) -> None:
    exif = Image.Exif()
    exif[0x010E] = "serial 4711"
    path = parts / "images" / "good" / "00.png"
    Image.open(path).save(path, exif=exif)
    manifest = prepared(parts, "--strip_metadata", "true")
    copies = list((manifest.root / "images").rglob("*.png"))
    assert len(copies) == 12
    assert not any(b"4711" in copy.read_bytes() for copy in copies)


def test_killed_run_goes_on_with_what_was_inspected(parts: Path) -> None:
    for number in range(12, 400):
        source = parts / "images" / "good" / f"{number % 6 * 2:02}.png"
        pixels = np.roll(np.asarray(Image.open(source)), number, axis=1)
        save(parts / "images" / "good" / f"{number}.png", pixels)
    out = parts.parent / "out"
    words = ["--source", "folder", "--root", str(parts), "--out", str(out), "--copies", "keep"]
    process = subprocess.Popen([sys.executable, "-m", "experiments.prepare", *words])
    patience = time.monotonic() + 60
    while not (out / ".inspections.db").is_file() and time.monotonic() < patience:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert main(words) == 0
    assert len(Manifest.open(out / "manifest.parquet")) == 400
