"""The index benchmark measures what it says, at a small size."""

from pathlib import Path

import pytest

from datamodules.manifest import Manifest
from experiments.benchmarks import index_memory


def test_made_manifest_opens_with_the_rows_asked_for(tmp_path: Path) -> None:
    index_memory.write_rows(tmp_path / "manifest.parquet", 100)
    manifest = Manifest.open(tmp_path / "manifest.parquet")
    assert len(manifest) == 100
    assert manifest[99].image == "set21/images/0000099.jpg"
    assert len(manifest.rows_of("train")) == 50


def test_workers_of_the_mapped_index_stay_small() -> None:
    rows = {row.name: row for row in index_memory.measure_rows(20_000)}
    for start in ("forked", "spawned"):
        worker = rows[f"index: private memory of a {start} worker"]
        assert worker.ours < 5 < worker.reference


def test_system_without_a_memory_map_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index_memory, "MEMORY_MAP", Path("nowhere"))
    with pytest.raises(ValueError, match="on Linux only"):
        index_memory.measure_rows(10)
