"""Holds that a release's card tells what the run knows, and says where nobody knows."""

import json
from pathlib import Path

import pytest

from datamodules.sources.synthetic import Synthetic
from experiments.checkpoints import Restored, load_any
from experiments.releasing.model_card import card_text, manifest_licences
from tests.experiments.small_stages import write_run

RECORD = {
    "git": {"commit": "abc123", "dirty": "yes"},
    "packages": {"torch": "2.0.0"},
    "data": {"dataset": "synthetic", "manifest_sha256": "f" * 64, "split_sha256": "e" * 64},
}
RESULTS = {"mask/test/iou_image": 0.5, "mask/test/aupro": None, "perf/images_per_s": 7.0}


@pytest.fixture(scope="module")
def restored(tmp_path_factory: pytest.TempPathFactory) -> Restored:
    """A constant baseline whose run has left nothing but its weights."""
    return load_any(
        write_run(tmp_path_factory.mktemp("card") / "run", "baselines/constant.yaml", {})
    )


def text_of(restored: Restored, *, licence: str = "") -> str:
    return card_text(restored.directory, restored, reason="it is a baseline", licence=licence)


@pytest.fixture
def told(restored: Restored) -> str:
    """The card of the run, record and results beside it."""
    files = {"run_record.json": RECORD, "results.json": RESULTS}
    for name, content in files.items():
        (restored.directory / name).write_text(json.dumps(content))
    text = text_of(restored)
    for name in files:
        (restored.directory / name).unlink()
    return text


def test_figures_stand_with_their_split_and_speeds_are_left_out(told: str) -> None:
    assert "| test | mask: iou_image | 0.5000 |" in told
    assert "| test | mask: aupro | - |" in told
    assert "images_per_s" not in told


def test_data_is_named_with_hashes_and_licence(told: str) -> None:
    assert f"Data set: {Synthetic().about.title} (synthetic)" in told
    assert f"Manifest: sha256 {'f' * 64}" in told and f"Split: sha256 {'e' * 64}" in told
    assert f"Licences of the data: {Synthetic().about.licence}" in told


def test_code_and_versions_are_those_of_the_training(told: str) -> None:
    assert "commit abc123 with uncommitted changes" in told
    assert "| torch | 2.0.0 |" in told


def test_what_nobody_recorded_is_said_to_be_unknown(restored: Restored) -> None:
    text = text_of(restored)
    assert "Manifest: sha256 unknown" in text
    assert "unknown: the run directory holds no figures" in text
    assert "Weights: unknown, nobody has stated one" in text
    assert "Code: commit unknown" in text


def test_stated_licence_stands_in_head_and_text(restored: Restored) -> None:
    text = text_of(restored, licence="CC-BY-4.0")
    assert "license: cc-by-4.0" in text.split("---")[1] and "Weights: CC-BY-4.0" in text


def test_exported_file_is_named_by_its_hash(restored: Restored) -> None:
    assert "Exported from `last.ckpt`, sha256 " in text_of(restored)
    assert str(restored.directory) not in text_of(restored)


def test_licences_of_another_manifest_are_not_claimed(tmp_path: Path) -> None:
    assert manifest_licences(str(tmp_path / "none.parquet"), "f" * 64) == set()
