"""Claims about the command that says what is wrong with a data set."""

import csv
import json
import os
from pathlib import Path

import pytest

from experiments.audit import ENTRIES, main
from tests.experiments.audits.small_manifest import copy_picture, small_manifest


def audited(tmp_path: Path, *more: str) -> int:
    manifest = tmp_path / "manifest.parquet"
    return main(["--manifest", str(manifest), "--out", str(tmp_path / "report"), *more])


def test_report_has_words_figures_findings_and_a_page(tmp_path: Path) -> None:
    copy_picture(small_manifest(tmp_path), 0, 1)
    assert audited(tmp_path) == 0
    report = tmp_path / "report"
    assert sorted(path.name for path in report.iterdir()) == sorted(ENTRIES)
    figures = json.loads((report / "audit.json").read_text())
    assert figures["Alike pictures/leak"] == 1
    rows = list(csv.DictReader((report / "findings.csv").open(encoding="utf-8")))
    assert {"leak", "exact_copy", "label_disagreement"} <= {row["kind"] for row in rows}


def test_findings_fail_the_command_only_where_asked(tmp_path: Path) -> None:
    copy_picture(small_manifest(tmp_path), 0, 1)
    assert audited(tmp_path, "--fail_on", "[leak, unusable]") == 1
    assert audited(tmp_path, "--fail_on", "[unusable]", "--overwrite") == 0


def test_older_report_is_kept_unless_told(tmp_path: Path) -> None:
    small_manifest(tmp_path)
    audited(tmp_path)
    with pytest.raises(ValueError, match="choose another --out or give --overwrite"):
        audited(tmp_path)


def test_second_audit_opens_no_picture_again(tmp_path: Path) -> None:
    manifest = small_manifest(tmp_path)
    audited(tmp_path)
    for row in range(len(manifest)):
        path = manifest.root / manifest[row].image
        state = path.stat()
        path.write_bytes(b"x" * state.st_size)
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    assert audited(tmp_path, "--overwrite") == 0
    figures = json.loads((tmp_path / "report" / "audit.json").read_text())
    assert "Alike pictures/unusable" not in figures


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "exactly one of --manifest FILE and --release FOLDER"),
        (["--manifest", "a", "--release", "b"], "exactly one"),
        (["--manifest", "none.parquet"], "none.parquet is missing"),
        (["--release", "nowhere"], "nowhere"),
        (["--manifets", "a"], "see --help"),
    ],
)
def test_wrong_words_are_one_line(words: list[str], message: str) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
        main(words)
    assert "\n" not in str(caught.value)
