"""What the audit finds on real data, against what is known to be there."""

from pathlib import Path

import numpy as np
import pytest

from datamodules.manifest import Manifest, Source
from datamodules.preparing.preparation import prepare
from datamodules.sources.elpv import Elpv
from datamodules.sources.merged import Merged
from datamodules.sources.neu_det import NeuDet
from datamodules.sources.neu_seg import NeuSeg
from datamodules.sources.pv_multi_defect import PvMultiDefect
from experiments.audits.findings import Finding, Section
from experiments.audits.pictures import audit_pictures

pytestmark = pytest.mark.slow


def prepared(source: Source, root: Path, out: Path) -> Manifest:
    return prepare(source, root, out / "manifest.parquet", copies="keep", workers=2).manifest


def audited(source: Source, shared_data: Path, out: Path) -> tuple[Manifest, Section]:
    manifest = prepared(source, shared_data / source.name, out)
    return manifest, audit_pictures(manifest, workers=2)


def of_kind(section: Section, kind: str) -> list[Finding]:
    return [finding for finding in section.findings if finding.kind == kind]


def test_all_163_turned_copies_across_the_published_steel_split_are_found(
    shared_data: Path, tmp_path: Path
) -> None:
    _, section = audited(NeuSeg(), shared_data, tmp_path)
    named = {name for f in of_kind(section, "leak") for name in (f.image, f.other)}
    in_test = {name for name in named if name.startswith("images/test/")}
    # 163 by the correlation of thumbnails; five more by finer looks.
    assert 163 <= len(in_test) <= 168


def test_all_ten_groups_of_identical_panels_disagree_in_their_boxes(
    shared_data: Path, tmp_path: Path
) -> None:
    _, section = audited(PvMultiDefect(), shared_data, tmp_path)
    assert len(of_kind(section, "exact_copy")) == 10
    assert len(of_kind(section, "label_disagreement")) == 10


def test_the_one_identical_pair_of_patches_is_found(shared_data: Path, tmp_path: Path) -> None:
    _, section = audited(NeuDet(), shared_data, tmp_path)
    (copy,) = of_kind(section, "exact_copy")
    assert {Path(copy.image).stem, Path(copy.other).stem} == {"patches_101", "patches_105"}


def test_few_sound_cells_are_taken_for_copies(shared_data: Path, tmp_path: Path) -> None:
    manifest, section = audited(Elpv(), shared_data, tmp_path)
    assert not of_kind(section, "exact_copy")
    alike = of_kind(section, "near_copy") + of_kind(section, "turned_copy")
    assert len(alike) < 0.12 * len(manifest)  # of 180,000 pairs


def test_pictures_that_two_steel_sets_share_leave_one_of_them(
    shared_data: Path, tmp_path: Path
) -> None:
    for source in (NeuSeg(), NeuDet()):
        prepared(source, shared_data / source.name, tmp_path / source.name)
    paths = [str(tmp_path / name / "manifest.parquet") for name in ("neu_seg", "neu_det")]
    done = prepare(Merged(paths), shared_data, tmp_path / "steel" / "manifest.parquet", workers=2)
    assert done.manifest.leaks == 0
    between = [one for one in done.copies if "neu_det" in one.image + one.reason]
    assert len(between) > 200
    splits = np.array(done.manifest.column("split"))
    assert {"train", "val", "test"} <= set(splits)
