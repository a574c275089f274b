"""Each kind of fault is found where it was planted, none where it was not, and reported."""

import csv
import json
import os
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from experiments.audit import ENTRIES, audit
from experiments.audits.captions import audit_manifest_captions, audit_release
from experiments.audits.findings import Finding, Section
from experiments.audits.images import audit_images
from experiments.audits.labels import audit_agreement, audit_tail, gini
from experiments.audits.page import PAIRS_OF_A_KIND, to_page
from experiments.cli import call_command
from experiments.tables import Table
from tests.experiments.audits.small_manifest import copy_image, rewritten, small_manifest
from tests.experiments.refused import refused

EVIL = "<script>alert(1)</script>'\"|`.png"
UNLABELLED_PARTS = {"mask": "", "mask_values": (), "defects": ()}


@pytest.mark.parametrize(
    ("copy", "turn", "changes", "found"),
    [
        ((0, 0), 0, {}, {}),
        ((0, 3), 0, {}, {"exact_copy": 1}),
        ((0, 1), 0, {}, {"exact_copy": 1, "label_disagreement": 1, "leak": 1}),
        ((0, 5), 2, UNLABELLED_PARTS, {"turned_copy": 1, "leak": 1}),
    ],
)
def test_copies_are_found_and_across_splits_they_are_leaks(copy, turn, changes, found, tmp_path):
    manifest = small_manifest(tmp_path, **changes)
    copy_image(manifest, *copy, turn=turn)
    section = audit_images(manifest, workers=1)
    assert Counter(finding.kind for finding in section.findings) == found
    assert section.figures["images"] == 9


def test_captions_of_another_defect_are_found_and_those_over_the_limit_counted(tmp_path):
    manifest = small_manifest(tmp_path)
    records = [manifest[row] for row in range(len(manifest))]
    records[1] = replace(records[1], released_caption="The plate shows a deep scratch.")
    records[4] = replace(records[4], released_caption="The plate shows a deep crack.")
    manifest = rewritten(manifest.path, records, manifest.root)
    section = audit_manifest_captions(manifest, token_limit=10)
    assert [(f.kind, f.image) for f in section.findings] == [("other_defect", "001.png")]
    assert "estimated" in section.note
    assert section.figures["built_captions_over_the_limit"] == 6
    assert section.figures["built_captions_that_lose_fields"] == 6


def test_rare_types_and_types_that_are_never_trained_on_are_found(tmp_path):
    section = audit_tail(small_manifest(tmp_path))
    assert (section.figures["types"], section.figures["share_of_top_10_types"]) == (2, 1)
    assert [gini(counts) for counts in ([5, 5, 5, 5], [0, 0, 0, 8])] == [0, 0.75]
    found = [(finding.kind, finding.image) for finding in section.findings]
    # Parts 2, 5 and 8 with stains are all in test.
    assert found == [("rare_type", "crack"), ("rare_type", "stain"), ("untrained_type", "stain")]


def test_a_type_counts_in_every_image_that_shows_it_and_is_found_where_never_tested(tmp_path):
    manifest = small_manifest(tmp_path, defects=("crack",))
    records = [manifest[row] for row in range(len(manifest))]
    records[0] = replace(records[0], defects=("crack", "stain"))  # in train
    section = audit_tail(rewritten(manifest.path, records, manifest.root))
    assert ("stain", 1, 0, 0, 1) in section.tables[0].rows
    assert section.figures["defective_images"] == 9
    assert ("untested_type", "stain") in [(one.kind, one.image) for one in section.findings]


def test_annotators_agree_but_for_what_differs(tmp_path):
    first, second = small_manifest(tmp_path / "a"), small_manifest(tmp_path / "b")
    figures = audit_agreement(first, second).figures
    assert (figures["types_kappa"], figures["masks_kappa"], figures["images"]) == (1, 1, 9)
    records = [second[row] for row in range(len(second))]
    records[1] = replace(records[1], defects=("stain",))
    section = audit_agreement(first, rewritten(second.path, records, second.root))
    assert [finding.evidence for finding in section.findings] == ["crack against stain"]
    assert section.figures["types_kappa"] < 1 and section.figures["types_observed"] == 8 / 9
    second = rewritten(second.path, [replace(first[0], image="other.png")], first.root)
    with pytest.raises(ValueError, match="no image in common"):
        audit_agreement(first, second)


def test_release_is_audited_table_by_table(shared_data):
    section = audit_release(shared_data / "imdd1m_release")
    (table,) = section.tables
    rows = {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
    assert (section.figures["rows"], section.figures["tables"]) == (330, 23)
    tiles = rows["5-10MT_tiles/5-10MT_Tiles.csv"]
    assert (tiles["encoding"], tiles["defect_on_good"], tiles["other_product"]) == ("utf-8", 12, 71)
    assert section.figures["near_duplicate_label"] == 2


def section_of(*findings: Finding) -> Section:
    table = Table("Images per type", ("type", "all"), ((EVIL, 3), ("crack", 5)))
    return Section(EVIL, {"images": 2.0}, [table], list(findings), EVIL)


def test_page_escapes_words_of_the_data_and_loads_nothing(tmp_path):
    manifest = small_manifest(tmp_path)
    pair = Finding("leak", manifest[0].image, "exact", manifest[1].image)
    evil = Finding("leak", EVIL, EVIL, EVIL)
    page = to_page(EVIL, [section_of(pair, evil)], manifest.root)
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "src=" not in page.replace("src='data:image/jpeg", "") and "http:" not in page
    assert page.count("data:image/jpeg") == 2
    assert "is missing" in page  # the image of that name, and it stops nothing


def test_page_says_how_much_was_left_out():
    pairs = [Finding("leak", f"{k}.png", "exact", "b.png") for k in range(PAIRS_OF_A_KIND + 7)]
    page = to_page("parts", [section_of(*pairs)], Path("nowhere"))
    assert "and 7 more pairs" in page and "and 21 more, all in findings.csv" in page


def audited(tmp_path: Path, *more: str) -> int:
    manifest = tmp_path / "manifest.parquet"
    words = ["--manifest", str(manifest), "--out", str(tmp_path / "report"), *more]
    return call_command(audit, words)


def figures_of(tmp_path: Path) -> dict[str, float]:
    return json.loads((tmp_path / "report" / "audit.json").read_text())


def test_report_has_figures_findings_and_a_page_and_kinds_can_fail_it(tmp_path):
    manifest = small_manifest(tmp_path)
    copy_image(manifest, 0, 1)
    assert audited(tmp_path, "--second", str(manifest.path)) == 0
    report = tmp_path / "report"
    assert sorted(path.name for path in report.iterdir()) == sorted(ENTRIES)
    assert figures_of(tmp_path)["Alike images/leak"] == 1
    assert figures_of(tmp_path)["Two annotators/masks_kappa"] == 1
    text = (report / "audit.md").read_text(encoding="utf-8")
    assert "### leak: 1\n" in text and "| masks_kappa | 1.0 |" in text
    rows = list(csv.DictReader((report / "findings.csv").open(encoding="utf-8")))
    assert {"leak", "exact_copy", "label_disagreement"} <= {row["kind"] for row in rows}
    assert audited(tmp_path, "--overwrite", "--fail_on", "leak", "unusable") == 1
    assert audited(tmp_path, "--overwrite", "--fail_on", "unusable") == 0


def test_second_audit_opens_no_image_again_and_finds_one_that_went_bad(tmp_path):
    manifest = small_manifest(tmp_path)
    audited(tmp_path)
    for row in range(len(manifest)):
        path = manifest.root / manifest[row].image
        state = path.stat()
        path.write_bytes(b"x" * state.st_size)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    audited(tmp_path, "--overwrite")
    assert "Alike images/unusable" not in figures_of(tmp_path)
    (manifest.root / manifest[4].image).write_bytes(b"gone")
    audited(tmp_path, "--overwrite")
    assert figures_of(tmp_path)["Alike images/unusable"] == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "exactly one of --manifest FILE and --release FOLDER"),
        (["--manifest", "a", "--release", "b"], "exactly one"),
        (["--manifest", "none.parquet"], "none.parquet is missing"),
        (["--release", "nowhere"], "nowhere"),
        (["--manifets", "a"], "did you mean --manifest?"),
        (["--manifest", "a", "--out", "."], "is not empty"),
    ],
)
def test_wrong_words_are_one_line(words, message):
    assert message in refused(audit, *words)
