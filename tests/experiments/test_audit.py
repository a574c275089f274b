"""Claims about the command that says what is wrong with a data set."""

import csv
import json
import os
from pathlib import Path

import pytest

from experiments.audit import ENTRIES, audit
from experiments.cli import call_command
from tests.experiments.audits.small_manifest import copy_image, small_manifest
from tests.experiments.refused import refused


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
