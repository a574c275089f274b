"""Generated images: marked, trained on, never tested on."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from datamodules.formats.synthetic_mark import marked_text
from datamodules.manifest import Manifest
from datamodules.preparing.copies import Changes
from datamodules.preparing.preparation import prepare
from datamodules.sample import UNLABELLED, Record
from datamodules.sources.generated import Generated
from datamodules.sources.merged import Merged
from tests.datamodules.sources.own_layouts import (
    DRAWN,
    PAINTED,
    read_rows,
    write_generated,
    write_rows,
    write_set,
)
from tests.datamodules.sources.painting import SPOT


def read(root: Path, **changes: object) -> list[Record]:
    """The records where the first line of the table is changed."""
    write_generated(root)
    if changes:
        first, *rest = read_rows(root)
        write_rows(root, [{**first, **changes}, *rest])
    return Generated().records(root)


def prepared(root: Path, name: str = "painted") -> Manifest:
    write_generated(root / name)
    return prepare(Generated(), root / name, root / f"{name}.parquet", workers=1).manifest


def test_several_types_are_parted_by_semicolons(tmp_path):
    assert read(tmp_path, defect="Crack; pin_hole", mask="")[0].defects == ("crack", "pin hole")


def test_images_of_one_origin_are_one_group(tmp_path):
    write_generated(tmp_path)
    rows = read_rows(tmp_path)
    write_rows(tmp_path, [*rows, {**rows[PAINTED], "seed": 9}, {**rows[DRAWN], "seed": 9}])
    groups = [record.group for record in Generated().records(tmp_path)]
    assert (groups[4], groups[5]) == (groups[PAINTED], groups[DRAWN])
    assert len(set(groups)) == 4


def test_image_without_the_mark_is_told_in_one_line(tmp_path):
    write_generated(tmp_path)
    path = tmp_path / "images" / "000001.png"
    Image.open(path).save(path)
    flaw = Generated().records(tmp_path)[DRAWN].flaw
    assert flaw.startswith("generated.jsonl line 2: ") and "has no synthetic mark" in flaw
    assert "\n" not in flaw


@pytest.mark.parametrize("protocol", ["groups", "thirds"])
def test_every_image_is_marked_and_no_protocol_holds_one_out(tmp_path, protocol):
    write_generated(tmp_path / "raw")
    path = tmp_path / "m.parquet"
    manifest = prepare(Generated(), tmp_path / "raw", path, protocol=protocol, workers=1).manifest
    assert manifest.generated_count == len(manifest) == 4
    assert set(manifest.column("split")) == {"train", UNLABELLED}


@pytest.mark.parametrize("settings", [{}, {"keep_splits": False}, {"leave_out": "tiles"}])
def test_mark_and_split_survive_merging_with_real_images(tmp_path, settings):
    prepared(tmp_path)
    write_set(tmp_path / "tiles", tmp_path / "tiles.parquet", source="tiles")
    source = Merged(manifests=["tiles.parquet", "painted.parquet"], **settings)
    manifest = prepare(source, tmp_path, tmp_path / "all.parquet", workers=1).manifest
    records = [manifest[row] for row in range(len(manifest))]
    assert {r.source for r in records if r.is_generated} == {"generated"}
    assert {r.split for r in records if r.is_generated} == {"train", UNLABELLED}
    assert any(r.split == "test" for r in records if not r.is_generated)


def test_generated_images_cannot_be_the_source_that_is_left_out(tmp_path):
    prepared(tmp_path)
    write_set(tmp_path / "tiles", tmp_path / "tiles.parquet", source="tiles")
    source = Merged(manifests=["tiles.parquet", "painted.parquet"], leave_out="generated")
    with pytest.raises(ValueError, match="'generated': expected one of the sources tiles"):
        source.records(tmp_path)


@pytest.mark.parametrize("changes", [Changes(strip=True), Changes(longest_side_px=20)])
def test_copies_keep_the_mark(tmp_path, changes):
    write_generated(tmp_path / "raw")
    path = tmp_path / "out" / "m.parquet"
    manifest = prepare(Generated(), tmp_path / "raw", path, changes=changes, workers=1).manifest
    assert manifest.generated_count == 4
    for row in range(4):
        assert Image.open(manifest.root / manifest[row].image).info["synthetic"] == "true"


def test_image_painted_into_a_test_image_is_left_out_of_training(tmp_path):
    write_set(tmp_path / "tiles", tmp_path / "tiles.parquet", source="tiles")
    write_generated(tmp_path / "painted")
    real = np.array(Image.open(tmp_path / "tiles" / "images" / "test 2.png"))
    real[SPOT] //= 2
    path = tmp_path / "painted" / "images" / "000000.png"
    marks = Image.open(path).info
    Image.fromarray(real).save(path, pnginfo=marked_text(marks))
    prepare(Generated(), tmp_path / "painted", tmp_path / "painted.parquet", workers=1)
    source = Merged(manifests=["tiles.parquet", "painted.parquet"])
    done = prepare(source, tmp_path, tmp_path / "all.parquet", workers=1)
    assert [one.image for one in done.copies] == ["painted/images/000000.png"]
