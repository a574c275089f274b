"""Hundreds of malformed inputs: each ends in one clear line or in a quarantine row."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from datamodules.preparing.copies import Changes
from datamodules.preparing.preparation import prepare
from tests.datamodules.malformed import (
    annotations,
    manifests,
    names,
    own_data,
    own_tables,
    pictures,
    public_masks,
)
from tests.datamodules.malformed.damage import Case
from tests.datamodules.malformed.ending import (
    OUR_FAULTS,
    bring_to_an_end,
    build,
    healthy_pictures,
    quarantined,
    write_healthy,
)
from tests.datamodules.malformed.faults import FAULTS, FAULTS_OF_STRIPPING

FEWEST_CASES = 200
FAMILIES: tuple[Callable[[], Iterator[Case]], ...] = (
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
    own_tables.tables,
    names.names_on_disk,
    names.folders,
    names.names_in_tables,
    public_masks.masks,
    public_masks.labels,
    public_masks.types,
    manifests.files,
    manifests.heads,
    manifests.cells,
)
CASES = [case for family in FAMILIES for case in family()]
# Their annotations are one file per picture: a bad one must never cost the others.
PER_PICTURE = ("neu_det", "neu_seg", "deeppcb", "labelme", "mtd", "mvtec_ad", "kolektor_sdd2")
COPIES = {"stripped": Changes(strip=True), "shrunk": Changes(longest_side_px=20)}


def param(case: Case, *values: str, fault: str) -> object:
    """A case for pytest; one of a known fault must fail until that is mended."""
    marks = [pytest.mark.xfail(strict=True, reason=fault)] if fault else []
    return pytest.param(case, *values, id="-".join((case.name, *values)), marks=marks)


def copied_params() -> Iterator[object]:
    """Bad pictures and masks, and what copies of them would differ in."""
    for case in (*pictures.pictures(), *pictures.masks()):
        fault = case.fault or FAULTS_OF_STRIPPING.get(case.name, "")
        yield param(case, "stripped", fault=fault)
    for case in (*pictures.hostile_pictures(), *pictures.masks()):
        yield param(case, "shrunk", fault=case.fault)


def check_lines(lines: list[str], name: str) -> None:
    assert lines, f"{name} was accepted without a word"
    for line in lines:
        assert line.isprintable(), repr(line)
        assert 20 < len(line) < 1000, line
        assert not OUR_FAULTS.search(line), line


@pytest.mark.parametrize("source", sorted({case.source for case in CASES}))
def test_healthy_layout_has_nothing_to_refuse(source: str, tmp_path: Path) -> None:
    write_healthy(source, tmp_path / "raw")
    path = tmp_path / "out" / "manifest.parquet"
    prepare(build(source), tmp_path / "raw", path, copies="keep", workers=1)
    assert quarantined(path) == []


@pytest.mark.parametrize(
    "case", [param(case, fault=case.fault or FAULTS.get(case.name, "")) for case in CASES]
)
def test_malformed_input_ends_in_a_clear_line(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    ending = bring_to_an_end(case, tmp_path)
    healthy = healthy_pictures(case.source)
    check_lines(ending.lines, case.name)
    if ending.kept is None:
        assert case.source not in PER_PICTURE, "one bad file cost the whole set"
        places = {Path(case.damage.path).stem, Path(case.damage.path).parent.name, *healthy}
        places.discard("")
        assert any(place in ending.lines[0] for place in places), ending.lines
    else:
        assert ending.kept <= healthy, "the bad picture is in the manifest"
        assert len(healthy - ending.kept) <= case.costs
    assert ending.changed == []
    assert ending.warned == []


@pytest.mark.parametrize(("case", "change"), copied_params())
def test_malformed_input_is_refused_where_copies_are_made(
    case: Case, change: str, tmp_path: Path
) -> None:
    ending = bring_to_an_end(case, tmp_path, COPIES[change])
    check_lines(ending.lines, case.name)
    assert ending.changed == []
    assert ending.warned == []
