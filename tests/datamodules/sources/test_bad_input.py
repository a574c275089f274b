"""Hundreds of malformed inputs: each ends in one clear line or in a quarantine row."""

import csv
import hashlib
import re
import warnings
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from datamodules.manifest import Manifest
from datamodules.preparing.copies import Changes
from datamodules.preparing.preparation import prepare
from tests.datamodules.sources.bad_files import images, masks, names
from tests.datamodules.sources.bad_manifests import manifests
from tests.datamodules.sources.bad_texts import texts
from tests.datamodules.sources.damage import PIXELS, Damage, image_bytes
from tests.datamodules.sources.test_sources import build, write

CASES = [*images(), *masks(), *names(), *texts(), *manifests()]
IDS = [f"{source}-{number}" for number, (source, _, _) in enumerate(CASES)]
# Their annotations are one file per image: a bad one must never cost the others.
PER_IMAGE = ("neu_det", "neu_seg", "deeppcb", "labelme", "mtd", "mvtec_ad", "kolektor_sdd2")
# Words of a fault of ours, not of the data's.
OUR_FAULTS = re.compile(r"Traceback|NoneType|object at 0x|Error\(|<class|unexpected keyword")


@cache
def healthy_images(source: str) -> frozenset[str]:
    """The images of a source's fake layout, in which nothing is to be refused."""
    with TemporaryDirectory() as folder:
        lines, kept = prepared(source, Path(folder))
    assert lines == []
    return kept or frozenset()


def prepared(
    source: str, folder: Path, damage: Damage = Path.exists, changes: Changes | None = None
) -> tuple[list[str], frozenset[str] | None]:
    """Why the set, or which image, is refused; the images kept, None of a refused set.

    No file outside the output may change, and no library may speak past us.
    """
    root, manifest = folder / "raw", folder / "out" / "manifest.parquet"
    root.mkdir()
    write(source, root)
    (folder / "outside.png").write_bytes(image_bytes("PNG", PIXELS))
    damage(root)
    before = files_of(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            prepare(
                build(source),
                root,
                manifest,
                max_bad_fraction=1.0,
                max_leftover_fraction=1.0,
                copies="keep",
                workers=1,
                changes=changes,
            )
        except (ValueError, OSError) as error:
            lines, kept = [str(error)], None
        else:
            with manifest.with_suffix(".quarantine.csv").open(newline="", encoding="utf-8") as file:
                lines = [f"{row['image']}: {row['reason']}" for row in csv.DictReader(file)]
            kept = frozenset(Manifest.open(manifest).column("image"))
    assert files_of(folder) == before
    return lines, kept


def files_of(folder: Path) -> dict[Path, str]:
    """Every file with its hash, but the output, wafers drawn on purpose, and maps of manifests."""
    found = {}
    for path in folder.rglob("*"):
        parts = set(path.relative_to(folder).parts[:2])
        if path.is_file() and not {"out", "wafer_maps"} & parts and path.suffix != ".arrow":
            found[path] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def check_lines(lines: list[str], words: str) -> None:
    assert any(words in line for line in lines), lines
    for line in lines:
        assert line.isprintable() and 20 < len(line) < 1000, repr(line)
        assert not OUR_FAULTS.search(line), line


@pytest.mark.parametrize(("source", "damage", "words"), CASES, ids=IDS)
def test_malformed_input_ends_in_a_clear_line(source, damage, words, tmp_path):
    lines, kept = prepared(source, tmp_path, damage)
    check_lines(lines, words)
    healthy = healthy_images(source)
    if kept is None:
        assert source not in PER_IMAGE, "one bad file cost the whole set"
    else:
        assert kept <= healthy, "the bad image is in the manifest"
        assert len(healthy - kept) <= 3


@pytest.mark.parametrize("changes", [Changes(strip=True), Changes(longest_side_px=20)])
@pytest.mark.parametrize(("source", "damage", "_"), [*images(), *masks()][::3])
def test_malformed_input_is_refused_where_copies_are_made(source, damage, _, changes, tmp_path):
    check_lines(prepared(source, tmp_path, damage, changes)[0], "")
