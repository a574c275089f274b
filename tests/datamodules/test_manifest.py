"""The manifest: what is written comes back, is hashed, mapped, and refused when it is not whole."""

import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datamodules.manifest import Manifest, write_manifest
from datamodules.sample import Record, Region
from datamodules.vocabulary import Vocabulary

NAMES = Vocabulary.from_names(["crack", "stain"])
MakeRecords = Callable[[int], list[Record]]
MakeManifest = Callable[[int], Manifest]


def written(path: Path, records: list[Record], root: str | Path = "raw") -> Manifest:
    return write_manifest(path, records, root=root, vocabulary=NAMES, source="parts")


def map_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.arrow")


def test_records_come_back_as_written(make_records: MakeRecords, tmp_path: Path) -> None:
    regions = (Region("crack", "box", (1.5, 2, 3, 4)), Region("crack", "runs", (5, 6)))
    records = [replace(r, split=s) for r, s in zip(make_records(3), "aba", strict=True)]
    records[1] = replace(records[1], mask="", regions=regions, window_xywh_px=(0, 1, 20, 30))
    manifest = written(tmp_path / "m.parquet", records, tmp_path)
    for opened in (manifest, Manifest.open(manifest.path), pickle.loads(pickle.dumps(manifest))):
        assert [opened[row] for row in range(len(opened))] == records
        assert (opened.root, opened.source, opened.vocabulary) == (tmp_path, "parts", NAMES)
        assert opened.sha256 == manifest.sha256
    assert Manifest.open(manifest.path, root="elsewhere").root == Path("elsewhere")
    with pytest.raises(IndexError, match=r"row 3 is outside the manifest's 0\.\.2"):
        manifest[3]


def test_columns_are_told_without_opening_rows(make_records: MakeRecords, tmp_path: Path) -> None:
    records = [replace(r, split="train" if k % 2 else "val") for k, r in enumerate(make_records(6))]
    manifest = written(tmp_path / "m.parquet", records)
    assert manifest.rows_of("train").tolist() == [1, 3, 5]
    assert manifest.rows_of("none").tolist() == []
    assert manifest.column("group") == [record.group for record in records]
    assert manifest.column("mask_kind") == ["pixel"] * 6
    assert manifest.caption_column("product") == ["plate"] * 6
    assert manifest.types_of(np.array([5, 0, 1])) == ["stain", "good", "crack"]
    assert manifest.generated_count == 0


def test_hash_follows_the_records_and_not_the_place(
    make_records: MakeRecords, tmp_path: Path
) -> None:
    records = make_records(3)
    moved = [replace(records[0], split="test"), *records[1:]]
    hashes = []
    for content, root in ((records, "a"), (records, "b"), (moved, "a")):
        manifest = written(tmp_path / "m.parquet", content, root)
        hashes.append((manifest.sha256, manifest.split_sha256))
    assert hashes[0] == hashes[1]
    assert hashes[0][0] != hashes[2][0]
    assert hashes[0][1] != hashes[2][1]


def test_lost_damaged_or_older_map_is_made_again(
    make_records: MakeRecords, make_manifest: MakeManifest
) -> None:
    path = make_manifest(3).path
    content = map_of(path).read_bytes()
    for damage in (map_of(path).unlink, lambda: map_of(path).write_bytes(b"half a map")):
        damage()
        assert len(Manifest.open(path)) == 3
        assert map_of(path).read_bytes() == content
    written(path, make_records(5))
    map_of(path).write_bytes(content)
    assert len(Manifest.open(path)) == 5


def test_folder_that_takes_no_map_is_told_and_read_all_the_same(
    make_manifest: MakeManifest, caplog: pytest.LogCaptureFixture
) -> None:
    path = make_manifest(3).path
    map_of(path).unlink()
    map_of(path).mkdir()
    (map_of(path) / "in the way").touch()
    assert Manifest.open(path)[2].defects == ("stain",)
    assert "every process keeps the 3 rows" in caplog.text


@pytest.mark.parametrize("changes", [{"is_generated": True, "split": s} for s in ("val", "test")])
def test_generated_images_are_never_tested_on(
    make_records: MakeRecords, tmp_path: Path, changes: dict
) -> None:
    records = make_records(2)
    with pytest.raises(ValueError, match="expected train: what a model painted proves nothing"):
        written(tmp_path / "m.parquet", [records[0], replace(records[1], **changes)])
    assert written(tmp_path / "m.parquet", [replace(records[1], is_generated=True)]).generated_count


def test_missing_manifest_names_the_command_that_writes_it(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"experiments\.prepare --source NAME"):
        Manifest.open(tmp_path / "none.parquet")


def with_version(path: Path, version: bytes) -> None:
    table = pq.read_table(path)
    words = {**table.schema.metadata, b"version": version}
    pq.write_table(table.replace_schema_metadata(words), path)


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: pq.write_table(pa.table({"a": [1]}), path), "version none, expected 4"),
        (lambda path: with_version(path, b"3"), "manifest version 3, expected 4: write it again"),
        (
            lambda path: pq.write_table(pq.read_table(path).drop_columns(["licence"]), path),
            "manifest version 4, expected 4",
        ),
    ],
)
def test_what_is_no_manifest_is_one_line(make_manifest: MakeManifest, spoil, why: str) -> None:
    path = make_manifest(5).path
    spoil(path)
    with pytest.raises(ValueError, match=why) as caught:
        Manifest.open(path)
    assert "\n" not in str(caught.value)


def test_no_records_write_nothing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no images"):
        written(tmp_path / "m.parquet", [])
    assert list(tmp_path.iterdir()) == []


def test_failed_write_is_one_line_and_keeps_the_old_manifest(
    make_records: MakeRecords, make_manifest: MakeManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half_write(table: pa.Table, where: Path) -> None:
        where.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    path = make_manifest(3).path
    monkeypatch.setattr(pq, "write_table", half_write)
    with pytest.raises(OSError, match=r"No space left.*expected a folder you may write to"):
        written(path, make_records(2))
    assert len(Manifest.open(path)) == 3
    assert not list(path.parent.glob("*.unfinished"))
