"""Several manifests as one: paths, names, groups, splits."""

from dataclasses import replace
from pathlib import Path

import pytest

from datamodules.manifest import Manifest, write_manifest
from datamodules.sample import UNLABELLED, Record
from datamodules.sources.merged import Merged
from datamodules.vocabulary import Vocabulary
from tests.datamodules.sources.own_layouts import SETTINGS, write_merged, write_set


def merge(root: Path, **settings: object) -> list[Record]:
    write_merged(root)
    return Merged(**{**SETTINGS["merged"], **settings}).records(root)


def splits_of(records: list[Record], source: str) -> list[str]:
    return [record.split for record in records if record.source == source]


def test_one_type_has_one_name_everywhere(tmp_path):
    records = merge(tmp_path)
    names = {name for record in records for name in record.defects}
    names |= {value.name for record in records for value in record.mask_values} - {"good"}
    names |= {region.name for record in records for region in record.regions}
    names |= {record.caption.defect for record in records} - {""}
    assert len(names) == 2 and "pinhole" in names


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
        write_set(tmp_path / folder, tmp_path / folder / "manifest.parquet", source="coco")
    records = Merged(manifests=["a/manifest.parquet", "b/manifest.parquet"]).records(tmp_path)
    assert {record.source for record in records} == {"coco@a", "coco@b"}
    assert len({record.group for record in records}) == 8


def test_corrections_train_whatever_split_they_bring_and_may_be_the_same_files(tmp_path):
    manifest = tmp_path / "a" / "manifest.parquet"
    write_set(tmp_path / "a", manifest, source="coco")
    before = list(Manifest.open(manifest))
    assert [record.split for record in before] == ["train", "val", "test", UNLABELLED]
    told = [replace(record, sha256=f"{place:064}") for place, record in enumerate(before)]
    vocabulary = Vocabulary.from_names(["pore"])
    write_manifest(manifest, told, root=tmp_path / "a", vocabulary=vocabulary, source="coco")
    records = Merged(["a/manifest.parquet"] * 2, corrects=True).records(tmp_path)
    splits = ["val", "test", "train", "train", "train", UNLABELLED]
    assert [record.split for record in records] == splits


def test_synonyms_come_from_the_controlled_vocabulary(tmp_path):
    records = merge(tmp_path)
    vocabulary = Merged().vocabulary(records)
    assert vocabulary.id_of("pinholes") == vocabulary.id_of("pinhole")


def test_manifest_outside_the_root_names_the_common_one(tmp_path):
    write_merged(tmp_path)
    with pytest.raises(ValueError, match=rf"expected it below .*: give --root {tmp_path}$"):
        Merged(manifests=["../out/manifest.parquet"]).records(tmp_path / "tiles")
