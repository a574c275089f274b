"""Claims about the Parquet index of records."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules import manifest as manifest_module
from datamodules.manifest import Manifest, write_manifest
from datamodules.sample import Record, Region
from datamodules.vocabulary import Vocabulary

MakeRecords = Callable[[int], list[Record]]
MakeManifest = Callable[[int], Manifest]
NAMES = Vocabulary.from_names(["crack", "stain"])


def test_records_come_back_as_written(make_records: MakeRecords, tmp_path: Path) -> None:
    records = make_records(4)
    manifest = write_manifest(
        tmp_path / "m.parquet", records, root=tmp_path, vocabulary=NAMES, source="parts"
    )
    assert [manifest[row] for row in range(len(manifest))] == records
    assert manifest.vocabulary == NAMES
    assert (manifest.root, manifest.source) == (tmp_path, "parts")


def test_a_pickled_manifest_opens_the_same_file(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(3)
    twin = pickle.loads(pickle.dumps(manifest))
    assert twin[2] == manifest[2]
    assert len(pickle.dumps(manifest)) < 1000


def test_rows_of_a_split_are_ascending(make_records: MakeRecords, tmp_path: Path) -> None:
    splits = ["train", "test", "train", "val"]
    records = [replace(r, split=s) for r, s in zip(make_records(4), splits, strict=True)]
    manifest = write_manifest(
        tmp_path / "m.parquet", records, root=tmp_path, vocabulary=NAMES, source="parts"
    )
    assert manifest.rows_of("train").tolist() == [0, 2]
    assert manifest.rows_of("nosuch").tolist() == []
    assert manifest.column("group") == ["run0", "run0", "run1", "run1"]
    assert manifest.column("split") == splits


def test_hash_follows_the_records_and_not_the_place(
    make_records: MakeRecords, tmp_path: Path
) -> None:
    def sha(records: list[Record], root: str) -> tuple[str, str]:
        path = tmp_path / "m.parquet"
        manifest = write_manifest(path, records, root=root, vocabulary=NAMES, source="parts")
        return manifest.sha256, manifest.split_sha256

    records = make_records(3)
    moved = [replace(records[0], split="test"), *records[1:]]
    assert sha(records, "a") == sha(records, "b")
    assert sha(records, "a")[0] != sha(moved, "a")[0]
    assert sha(records, "a")[1] != sha(moved, "a")[1]


def test_regions_and_windows_come_back_as_written(
    make_records: MakeRecords, tmp_path: Path
) -> None:
    regions = (Region("crack", "box", (1.5, 2, 3, 4)), Region("crack", "runs", (5, 6)))
    record = replace(make_records(2)[1], mask="", regions=regions, window_xywh_px=(0, 1, 20, 30))
    manifest = write_manifest(
        tmp_path / "m.parquet", [record], root=tmp_path, vocabulary=NAMES, source="parts"
    )
    assert manifest[0] == record
    assert manifest.column("mask_kind") == ["box"]


def test_dominant_types_are_told_without_opening_rows(make_manifest: MakeManifest) -> None:
    manifest = make_manifest(6)
    assert manifest.types_of(np.array([5, 0, 1])) == ["stain", "good", "crack"]


def test_schema_says_what_each_column_holds(make_manifest: MakeManifest) -> None:
    schema = pq.read_schema(make_manifest(2).path)
    assert all(field.metadata[b"holds"] for field in schema)


def maps_beside(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f".{path.name}-*.arrow"))


def test_lost_or_damaged_map_is_made_again(make_manifest: MakeManifest) -> None:
    path = make_manifest(3).path
    (mapped,) = maps_beside(path)
    for damage in (mapped.unlink, lambda: mapped.write_bytes(b"half a map")):
        damage()
        assert len(Manifest.open(path)) == 3
        assert mapped.stat().st_size > 1000


def test_map_of_an_older_manifest_is_not_used_and_goes(
    make_records: MakeRecords, make_manifest: MakeManifest
) -> None:
    path = make_manifest(3).path
    write_manifest(path, make_records(5), root="raw", vocabulary=NAMES, source="parts")
    assert len(Manifest.open(path)) == 5
    assert len(maps_beside(path)) == 1


def test_read_only_folder_maps_in_the_cache(
    make_manifest: MakeManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_manifest(3).path
    cached = tmp_path / "cache" / "diffuse_defect" / "map-1.arrow"
    monkeypatch.setattr(
        manifest_module, "_places_of_map", lambda path: (tmp_path / "file" / "map-1.arrow", cached)
    )
    (tmp_path / "file").write_text("in the way")
    assert len(Manifest.open(path)) == 3
    assert cached.is_file()


def test_missing_manifest_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"experiments\.prepare --source NAME"):
        Manifest.open(tmp_path / "none.parquet")


def test_truncated_manifest_is_one_line(make_manifest: MakeManifest) -> None:
    path = make_manifest(5).path
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="not a readable Parquet manifest") as caught:
        Manifest.open(path)
    assert "\n" not in str(caught.value)


def test_foreign_parquet_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match="manifest version none, expected 3"):
        Manifest.open(tmp_path / "a.parquet")


def test_no_records_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no images"):
        write_manifest(tmp_path / "m.parquet", [], root="raw", vocabulary=NAMES, source="parts")
    assert list(tmp_path.iterdir()) == []


def test_unwritable_place_is_one_line_and_leaves_nothing(
    make_records: MakeRecords, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="expected a folder you may write to") as caught:
        write_manifest(
            tmp_path / "file" / "m.parquet",
            make_records(2),
            root=tmp_path,
            vocabulary=NAMES,
            source="parts",
        )
    assert "\n" not in str(caught.value)
    assert (tmp_path / "file").read_text() == "in the way"


def test_failed_write_keeps_the_old_manifest(
    make_records: MakeRecords, make_manifest: MakeManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_manifest(3).path

    def half_write(table: pa.Table, where: Path) -> None:
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pq, "write_table", half_write)
    with pytest.raises(OSError, match="No space left"):
        write_manifest(path, make_records(2), root="raw", vocabulary=NAMES, source="parts")
    assert len(Manifest.open(path)) == 3
    assert [entry.name for entry in path.parent.glob("*parquet*.unfinished")] == []


def test_manifest_of_version_two_opens_without_generated_images(
    make_manifest: MakeManifest,
) -> None:
    manifest = make_manifest(3)
    table = pq.read_table(manifest.path).drop_columns(["is_generated"])
    words = {**table.schema.metadata, b"version": b"2"}
    pq.write_table(table.replace_schema_metadata(words), manifest.path)
    older = Manifest.open(manifest.path)
    assert [older[row] for row in range(3)] == [manifest[row] for row in range(3)]
    assert older.generated_count == 0


def test_manifest_of_version_two_with_columns_of_three_is_refused(
    make_manifest: MakeManifest,
) -> None:
    path = make_manifest(2).path
    table = pq.read_table(path)
    pq.write_table(table.replace_schema_metadata({**table.schema.metadata, b"version": b"2"}), path)
    with pytest.raises(ValueError, match="manifest version 2, expected 3"):
        Manifest.open(path)
