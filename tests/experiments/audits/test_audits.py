"""Each kind of fault is found where it was planted, and none where it was not."""

import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.audits.annotators import audit_agreement
from experiments.audits.captions import (
    TokenLimit,
    audit_manifest_captions,
    audit_release,
    estimate_tokens,
    load_token_limit,
)
from experiments.audits.pictures import audit_pictures
from experiments.audits.tail import audit_tail, gini
from tests.experiments.audits.small_manifest import copy_picture, rewritten, small_manifest

TOKENS = TokenLimit(estimate_tokens)


def kinds(section) -> Counter[str]:
    return Counter(finding.kind for finding in section.findings)


def test_sound_pictures_have_no_finding(tmp_path: Path) -> None:
    section = audit_pictures(small_manifest(tmp_path), workers=1)
    assert not section.findings
    assert section.figures["pictures"] == 9


def test_copy_in_another_split_is_a_leak_with_another_label(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path)
    copy_picture(manifest, 0, 1)
    found = kinds(audit_pictures(manifest, workers=1))
    assert found == {"exact_copy": 1, "label_disagreement": 1, "leak": 1}


def test_copy_in_the_same_split_is_no_leak(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path)
    copy_picture(manifest, 0, 3)
    assert kinds(audit_pictures(manifest, workers=1)) == {"exact_copy": 1}


def test_turned_copy_is_found(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path, count=12, mask="", mask_values=(), defects=())
    copy_picture(manifest, 0, 5, turn=2)
    assert kinds(audit_pictures(manifest, workers=1))["turned_copy"] == 1


def test_picture_that_went_bad_is_found(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path)
    (manifest.root / manifest[4].image).write_bytes(b"gone")
    (finding,) = audit_pictures(manifest, workers=1).findings
    assert (finding.kind, finding.image) == ("unusable", "004.png")


def test_released_caption_of_another_defect_is_found(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path)
    records = [manifest[row] for row in range(len(manifest))]
    records[1] = replace(records[1], released_caption="The plate shows a deep scratch.")
    records[4] = replace(records[4], released_caption="The plate shows a deep crack.")
    section = audit_manifest_captions(rewritten(manifest.path, records, manifest.root), TOKENS)
    assert [(f.kind, f.image) for f in section.findings] == [("other_defect", "001.png")]


def test_captions_over_the_limit_are_counted_with_what_they_lose(tmp_path: Path) -> None:
    section = audit_manifest_captions(small_manifest(tmp_path), TokenLimit(estimate_tokens, 10))
    assert section.figures["built_captions_over_the_limit"] == 6
    assert section.figures["built_captions_that_lose_fields"] == 6


def test_estimated_tokens_are_said_to_be_estimated(tmp_path: Path) -> None:
    section = audit_manifest_captions(small_manifest(tmp_path), load_token_limit(""))
    assert "estimated" in section.note


def test_missing_tokenizer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot be read") as caught:
        load_token_limit(str(tmp_path / "none"))
    assert "\n" not in str(caught.value)


def test_long_tail_is_counted(tmp_path: Path) -> None:
    section = audit_tail(small_manifest(tmp_path))
    assert section.figures["types"] == 2
    assert section.figures["share_of_top_10_types"] == 1
    assert {f.image for f in section.findings if f.kind == "rare_type"} == {"crack", "stain"}


def test_type_that_is_tested_and_never_trained_on_is_found(tmp_path: Path) -> None:
    found = [f.image for f in audit_tail(small_manifest(tmp_path)).findings if "un" in f.kind]
    assert found == ["stain"]  # parts 2, 5, 8 are all in test


@pytest.mark.parametrize(("counts", "expected"), [([5, 5, 5, 5], 0), ([0, 0, 0, 8], 0.75)])
def test_gini_is_none_for_equals_and_high_for_one_that_has_all(counts, expected) -> None:
    assert gini(counts) == pytest.approx(expected)


def test_gini_of_nothing_is_undefined() -> None:
    assert math.isnan(gini([]))


def test_equal_annotators_agree_wholly(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path)
    figures = audit_agreement(manifest, manifest).figures
    assert (figures["types_kappa"], figures["masks_kappa"]) == (1, 1)


def test_other_type_and_smaller_mask_are_disagreements(tmp_path: Path) -> None:
    first, second = small_manifest(tmp_path / "a"), small_manifest(tmp_path / "b")
    records = [second[row] for row in range(len(second))]
    records[1] = replace(records[1], defects=("stain",))
    mask = np.zeros((40, 60), np.uint8)
    mask[15:18, 4:14] = 2
    Image.fromarray(mask).save(second.root / records[5].mask)
    section = audit_agreement(first, rewritten(second.path, records, second.root))
    assert [finding.evidence for finding in section.findings] == ["crack against stain"]
    assert section.figures["masks_below_iou"] == 1
    assert section.figures["types_kappa"] < 1


def test_manifests_of_other_pictures_are_refused(tmp_path: Path) -> None:
    first = small_manifest(tmp_path / "a")
    records = [replace(first[0], image="other.png")]
    second = rewritten(tmp_path / "b.parquet", records, first.root)
    with pytest.raises(ValueError, match="no picture in common"):
        audit_agreement(first, second)


def test_release_is_audited_table_by_table(shared_data: Path) -> None:
    section = audit_release(shared_data / "imdd1m_release", TOKENS)
    table = {
        row[0]: dict(zip(section.tables[0].columns, row, strict=True))
        for row in section.tables[0].rows
    }
    assert section.figures["rows"] == 330
    assert section.figures["tables"] == 23
    tiles = table["5-10MT_tiles/5-10MT_Tiles.csv"]
    assert tiles["defect_on_good"] == 12
    assert tiles["other_product"] >= 70
    assert section.figures["near_duplicate_label"] == 2
