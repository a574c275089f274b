"""Hundreds of malformed inputs: each ends in one clear line or in a quarantine row."""

import csv
import hashlib
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from datamodules.manifest import Manifest, Source
from datamodules.preparing.preparation import prepare
from tests.datamodules.fetching import archive_traps
from tests.datamodules.malformed import annotations, own_data, pictures
from tests.datamodules.malformed.damage import PIXELS, Case, picture

FEWEST_CASES = 200
# Words of a fault of ours, not of the data's.
OUR_FAULTS = re.compile(r"Traceback|NoneType|object at 0x|Error\(|<class|unexpected keyword")


def all_cases() -> Iterator[Case]:
    """Every damaged data set."""
    for family in (
        pictures.pictures,
        pictures.masks,
        annotations.voc,
        annotations.boards,
        annotations.cells,
        annotations.runs,
        annotations.lists,
        own_data.coco,
        own_data.yolo,
        own_data.labelme,
        own_data.tables,
    ):
        yield from family()


CASES = list(all_cases())


def build(name: str) -> Source:
    class_name = "".join(part.capitalize() for part in name.split("_"))
    return getattr(importlib.import_module(f"datamodules.sources.{name}"), class_name)()


def write_healthy(name: str, root: Path) -> None:
    root.mkdir(parents=True)
    importlib.import_module(f"tests.datamodules.sources.layouts.{name}").write(root)


def tree_of(root: Path) -> dict[str, str]:
    """Every file below the root with its hash; links by where they lead."""
    found = {}
    for path in sorted(root.rglob("*")):
        if path.is_symlink():
            found[str(path)] = f"link to {path.readlink()}"
        elif path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def quarantined(manifest: Path) -> list[dict[str, str]]:
    with manifest.with_suffix(".quarantine.csv").open(newline="", encoding="utf-8") as file:
        return [row for row in csv.DictReader(file) if row["kind"] == "refused"]


def outcome_of(case: Case, root: Path, manifest: Path) -> list[str]:
    """The lines that a user reads: why the set is refused, or why which pictures are."""
    try:
        prepare(build(case.source), root, manifest, max_bad_fraction=1.0, copies="keep", workers=1)
    except (ValueError, OSError) as error:
        assert not manifest.exists(), "a refused set must leave no manifest"
        return [str(error)]
    return [f"{row['image']}: {row['reason']}" for row in quarantined(manifest)]


@pytest.mark.parametrize("source", sorted({case.source for case in CASES}))
def test_healthy_layout_has_nothing_to_refuse(source: str, tmp_path: Path) -> None:
    write_healthy(source, tmp_path / "raw")
    path = tmp_path / "out" / "manifest.parquet"
    prepare(build(source), tmp_path / "raw", path, copies="keep", workers=1)
    assert quarantined(path) == []


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_malformed_input_ends_in_a_clear_line(case: Case, tmp_path: Path) -> None:
    root, path = tmp_path / "raw", tmp_path / "out" / "manifest.parquet"
    write_healthy(case.source, root)
    (tmp_path / "outside.png").write_bytes(picture("PNG", PIXELS))
    healthy = len(build(case.source).records(root))
    case.damage(root)
    before = tree_of(root)
    lines = outcome_of(case, root, path)
    assert lines, f"{case.name} was accepted without a word"
    for line in lines:
        assert "\n" not in line
        assert 20 < len(line) < 700, line
        assert not OUR_FAULTS.search(line), line
    assert tree_of(root) == before
    if path.exists():
        assert len(Manifest.open(path)) >= healthy - len(lines)


def test_malformed_inputs_are_many_and_no_two_alike(capsys: pytest.CaptureFixture[str]) -> None:
    archives = [
        trap
        for family in (archive_traps.traps, archive_traps.bombs, archive_traps.damaged)
        for trap in family()
    ]
    names = [case.name for case in CASES]
    assert len(set(names)) == len(names)
    with capsys.disabled():
        print(f"\n{len(CASES)} malformed data sets and {len(archives)} archives are refused")
    assert len(CASES) >= FEWEST_CASES
