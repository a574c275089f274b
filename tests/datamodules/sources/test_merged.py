"""Several manifests as one: paths, names, groups, splits."""

from pathlib import Path

import pytest

from datamodules.preparing.inspection import inspect
from datamodules.sample import UNLABELLED, Record
from datamodules.sources.merged import Merged
from tests.datamodules.sources.layouts.merged import SETTINGS, write, write_set


def merge(root: Path, **settings: object) -> list[Record]:
    write(root)
    return Merged(**{**SETTINGS, **settings}).records(root)


def splits_of(records: list[Record], source: str) -> list[str]:
    return [record.split for record in records if record.source == source]


def test_paths_are_seen_from_the_common_root(tmp_path):
    first, *_, last = merge(tmp_path)
    assert (first.image, first.mask) == ("tiles/images/train 0.png", "tiles/mask.png")
    assert last.image == "boards/raw/images/unlabelled 3.png"
    assert inspect(first, tmp_path).problem == ""


def test_one_type_has_one_name_everywhere(tmp_path):
    records = merge(tmp_path)
    names = {name for record in records for name in record.defects}
    names |= {value.name for record in records for value in record.mask_values} - {"good"}
    names |= {region.name for record in records for region in record.regions}
    names |= {record.caption.defect for record in records} - {""}
    assert len(names) == 2 and "pinhole" in names


def test_groups_and_licences_stay_those_of_their_source(tmp_path):
    records = merge(tmp_path)
    assert records[0].group == "tiles/run 0"
    assert {record.group for record in records[:4]}.isdisjoint(r.group for r in records[4:])
    assert [records[0].licence, records[4].licence] == ["licence of tiles", "licence of boards"]


@pytest.mark.parametrize(
    ("keep", "splits"),
    [(True, ["train", "val", "test", UNLABELLED]), (False, ["", "", "", UNLABELLED])],
)
def test_splits_are_kept_or_cleared(tmp_path, keep, splits):
    assert splits_of(merge(tmp_path, keep_splits=keep), "tiles") == splits


@pytest.mark.parametrize(("keep", "val"), [(True, "val"), (False, "train")])
def test_source_that_is_left_out_is_all_test(tmp_path, keep, val):
    records = merge(tmp_path, leave_out="tiles", keep_splits=keep)
    assert splits_of(records, "tiles") == ["test", "test", "test", UNLABELLED]
    assert splits_of(records, "boards") == ["train", val, "train", UNLABELLED]


def test_sets_of_one_source_are_named_apart(tmp_path):
    for folder in ("a", "b"):
        write_set(
            tmp_path / folder,
            tmp_path / folder / "manifest.parquet",
            source="coco",
            type_name="crack",
        )
    records = Merged(manifests=["a/manifest.parquet", "b/manifest.parquet"]).records(tmp_path)
    assert {record.source for record in records} == {"coco@a", "coco@b"}
    assert len({record.group for record in records}) == 8


def test_synonyms_come_from_the_controlled_vocabulary(tmp_path):
    records = merge(tmp_path)
    vocabulary = Merged().vocabulary(records)
    assert vocabulary.id_of("pinholes") == vocabulary.id_of("pinhole")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"leave_out": "bottle"}, "'bottle': expected one of the sources boards, tiles"),
        ({"manifests": ["tiles/manifest.parquet"] * 2}, "is in 2 rows of the manifests"),
        ({"manifests": []}, "manifests is empty: expected"),
        ({"manifests": ["gone.parquet"]}, "manifest gone.parquet is missing"),
    ],
)
def test_settings_that_fit_no_data_are_one_clear_line(tmp_path, settings, words):
    with pytest.raises((ValueError, FileNotFoundError), match=words):
        merge(tmp_path, **settings)


def test_manifest_outside_the_root_names_the_common_one(tmp_path):
    write(tmp_path)
    with pytest.raises(ValueError, match=rf"expected it below .*: give --root {tmp_path}$"):
        Merged(manifests=["../out/manifest.parquet"]).records(tmp_path / "tiles")
