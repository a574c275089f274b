"""Two annotators: kappa by hand and against scikit-learn, masks counted verdict by verdict."""

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score

from datamodules.auditing.agreement import (
    cohens_kappa,
    common_records,
    compare_masks,
    kappa_of_labels,
)
from datamodules.manifest import Manifest
from datamodules.preparing.inspection import inspect
from datamodules.preparing.tiles import tile_records
from tests.experiments.audits.small_manifest import rewritten, small_manifest


def test_kappa_of_a_hand_worked_table():
    # 20 and 15 agree of 50; the first says yes 25 times, the second 30: 0.7 against 0.5.
    assert cohens_kappa(np.array([[20, 5], [10, 15]])) == pytest.approx(0.4, abs=1e-12)
    assert cohens_kappa(np.array([[0, 1], [1, 0]])) == -1


@pytest.mark.parametrize("seed", range(5))
def test_kappa_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    first = [str(k) for k in rng.integers(0, 4, 200)]
    second = [a if rng.random() < 0.7 else str(rng.integers(0, 5)) for a in first]
    expected = cohen_kappa_score(first, second)
    assert kappa_of_labels(first, second) == pytest.approx(expected, abs=1e-12)


def test_one_label_throughout_has_no_kappa():
    assert math.isnan(kappa_of_labels(["good"] * 3, ["good"] * 3))


def annotated(folder: Path, rows: Sequence[int], class_id: int = 1) -> Manifest:
    """As many images as rows, each with the class in its first so many rows."""
    manifest = small_manifest(folder, count=len(rows), defects=("crack",))
    records = [replace(manifest[k], defects=("crack", "stain")) for k in range(len(rows))]
    for record, count in zip(records, rows, strict=True):
        mask = np.zeros((record.height_px, record.width_px), np.uint8)
        mask[:count] = class_id
        Image.fromarray(mask).save(manifest.root / record.mask)
    return rewritten(manifest.path, records, manifest.root)


def test_each_verdict_on_masks_is_counted(tmp_path):
    first = annotated(tmp_path / "a", [20, 20, 20, 9, 0, 0])
    found = compare_masks(first, annotated(tmp_path / "b", [16, 15, 14, 0, 9, 0]))
    assert found is not None
    assert (found.count, found.below_iou, found.by_one_only) == (6, 1, 2)
    assert found.mean_iou == pytest.approx((0.8 + 0.75 + 0.7) / 3)
    # Two overlap, one by each alone and a half for too little; the second type is blank in all.
    assert found.kappa == pytest.approx(cohens_kappa(np.array([[2, 1.5], [1.5, 7]])))


def test_the_same_outline_under_two_names_is_two_disagreements(tmp_path):
    first, second = annotated(tmp_path / "a", [20]), annotated(tmp_path / "b", [20], class_id=2)
    found = compare_masks(first, second)
    assert found is not None and (found.by_one_only, found.kappa) == (2, -1)
    assert math.isnan(found.mean_iou)


def test_tiles_are_compared_with_themselves_alone(tmp_path):
    manifest = annotated(tmp_path, [20, 5])
    tiles = [
        tile for row in range(2) for tile in tile_records(manifest[row], tile_px=20, overlap_px=0)
    ]
    tiles = [inspect(tile, manifest.root).record for tile in tiles]
    tiled = rewritten(tmp_path / "tiles.parquet", tiles, manifest.root)
    assert all(one == other for one, other in common_records(tiled, tiled))
    found = compare_masks(tiled, tiled)
    assert found is not None and (found.count, found.kappa, found.mean_iou) == (len(tiles), 1, 1)


def test_masks_of_two_sizes_are_refused(tmp_path):
    first, second = annotated(tmp_path / "a", [20]), annotated(tmp_path / "b", [20])
    records = [replace(second[0], width_px=40, height_px=60)]
    Image.new("L", (40, 60)).save(second.root / records[0].mask)
    with pytest.raises(ValueError, match=r"000.png have the sizes \(40, 60\) and \(60, 40\)"):
        compare_masks(first, rewritten(second.path, records, second.root))
