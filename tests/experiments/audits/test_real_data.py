"""What the audit finds on real data, against what is known to be there."""

from pathlib import Path

import pytest

from datamodules.manifest import Manifest
from datamodules.preparing.preparation import prepare
from datamodules.sources.merged import Merged
from experiments.audits.findings import Finding
from experiments.audits.images import audit_images
from experiments.prepare import build_source

pytestmark = pytest.mark.slow


def prepared(source: str, data: Path, out: Path) -> Manifest:
    path = out / source / "manifest.parquet"
    return prepare(build_source(source, ()), data / source, path, copies="keep", workers=2).manifest


def audited(source: str, data: Path, out: Path) -> dict[str, list[Finding]]:
    found: dict[str, list[Finding]] = {}
    for finding in audit_images(prepared(source, data, out), workers=2).findings:
        found.setdefault(finding.kind, []).append(finding)
    return found


def test_all_163_turned_copies_across_the_published_steel_split_are_found(shared_data, tmp_path):
    leaks = audited("neu_seg", shared_data, tmp_path)["leak"]
    names = {name for leak in leaks for name in (leak.image, leak.other)}
    # 163 by the correlation of thumbnails; five more by finer looks.
    assert 163 <= sum(name.startswith("images/test/") for name in names) <= 168


def test_all_ten_groups_of_identical_panels_disagree_in_their_boxes(shared_data, tmp_path):
    found = audited("pv_multi_defect", shared_data, tmp_path)
    assert len(found["exact_copy"]) == len(found["label_disagreement"]) == 10


def test_few_sound_cells_are_taken_for_copies(shared_data, tmp_path):
    found = audited("elpv", shared_data, tmp_path)
    assert "exact_copy" not in found
    count = len(Manifest.open(tmp_path / "elpv/manifest.parquet"))
    assert len(found["near_copy"] + found.get("turned_copy", [])) < 0.12 * count


def test_images_that_two_steel_sets_share_leave_one_of_them(shared_data, tmp_path):
    paths = [str(prepared(name, shared_data, tmp_path).path) for name in ("neu_seg", "neu_det")]
    done = prepare(Merged(paths), shared_data, tmp_path / "steel" / "manifest.parquet", workers=2)
    assert done.manifest.leaks == 0
    assert sum("neu_det" in one.image + one.reason for one in done.copies) > 200
    assert {"train", "val", "test"} <= set(done.manifest.column("split"))
