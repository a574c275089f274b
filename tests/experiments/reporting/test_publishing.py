"""Holds that a page's tables are those of the results beside it, in our own documentation too."""

import json
import re
import shlex
from pathlib import Path

import pytest

from experiments.config import CONFIG_FOLDER
from experiments.reporting.paper_figures import PaperFigure
from experiments.reporting.paper_tables import NOT_REACHED, PaperTable, Report, Row, bars, estimate
from experiments.reporting.plan import plan_children
from experiments.reporting.publishing import (
    RESULTS_NAME,
    publish,
    published_block,
    study_block,
    table_files,
    write_report,
)
from experiments.reporting.usual_report import Results
from experiments.study import read_study
from experiments.tables import to_csv, to_markdown

DOCS = Path(__file__).parents[3] / "docs"
PUBLISHED = sorted(DOCS.glob(f"*/*/{RESULTS_NAME}"))
NUMBER = r"[+-]?\b\d+\.\d{3}\b"
COMMAND = "python -m experiments.study --config studies/transfer.yaml"
PAPER = PaperFigure(0.529, "Table 6", "zero_shot", "mvtec_ad")
TABLE = PaperTable(
    "table_6",
    "Table 6: transfer",
    ("train", "test"),
    (
        Row(
            {"train": "a", "test": "b"},
            "iou_image",
            estimate([0.25, 0.5]),
            setting="full",
            data="neu_seg",
            scale="tiny",
            runs=("r1", "r2"),
        ),
        Row({"train": "a"}, "samples", None, outcome=NOT_REACHED),
        Row({"train": "a"}, "iou_image", estimate([0.3])),
        Row({"train": "a", "test": "b"}, "iou_image", None, PAPER),
    ),
)


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    folder.mkdir()
    said = Report((TABLE,), {"iou": bars({"a": estimate([0.3])}, y="iou")}, ("no t is best",))
    write_report(said, folder, command=COMMAND)
    return folder


def test_results_hold_all_that_a_page_and_its_tables_say(report: Path) -> None:
    results = report / RESULTS_NAME
    assert table_files(results) == {
        "table_6.md": to_markdown(TABLE.as_table()),
        "table_6.csv": to_csv(TABLE.as_table()),
        "answers.md": "- no t is best",
    }
    folder = f"{report.parent.name}/report"
    assert study_block(results) == (
        f"![iou]({folder}/iou.png)\n\n"
        f"[Table 6: transfer]({folder}/table_6.md), [answers]({folder}/answers.md): `{COMMAND}`"
    )


@pytest.mark.parametrize(
    "text",
    [
        "<!-- study transfer -->\n",
        "<!-- end of transfer -->\n<!-- study transfer -->\n",
        "<!-- study transfer --><!-- end of transfer -->" * 2,
    ],
)
def test_page_that_has_no_one_place_for_a_study_is_refused(
    text: str, report: Path, tmp_path: Path
) -> None:
    page = tmp_path / "results.md"
    page.write_text(text)
    with pytest.raises(ValueError, match="expected each once, in this order, or neither"):
        publish(report, page, "transfer")
    assert page.read_text() == text


def test_page_keeps_its_own_words_around_the_tables(report: Path, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text(
        "# Results\n\nbefore\n\n<!-- study transfer -->\nold\n<!-- end of transfer -->\nafter\n"
    )
    for _ in range(2):
        publish(report, page, "transfer")
        text = page.read_text()
        assert text.startswith("# Results\n\nbefore\n") and text.endswith("\nafter\n")
        assert "old" not in text
    copied = tmp_path / "results" / "transfer" / RESULTS_NAME
    assert published_block(page, "transfer") == study_block(copied)
    assert (copied.with_name("iou.png")).read_bytes() == (report / "iou.png").read_bytes()


def test_study_that_is_new_to_a_page_comes_at_its_end(report: Path, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Results\n")
    publish(report, page, "transfer")
    assert "Table 6: transfer" in published_block(page, "transfer")


def test_missing_page_is_refused(report: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.md is missing"):
        publish(report, tmp_path / "none.md", "transfer")


def test_each_study_that_we_ship_has_a_place_in_our_documentation() -> None:
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    named = set(re.findall(r"<!-- study (\w+) -->", page))
    assert named == {path.stem for path in (CONFIG_FOLDER / "studies").glob("*.yaml")}
    assert named == {path.parent.name for path in PUBLISHED}


@pytest.mark.parametrize("results", PUBLISHED, ids=lambda path: path.parent.name)
def test_our_page_and_its_tables_are_what_the_results_say(results: Path) -> None:
    page = results.parents[1].with_suffix(".md")
    assert published_block(page, results.parent.name) == study_block(results)
    for name, text in table_files(results).items():
        assert results.with_name(name).read_text(encoding="utf-8").strip() == text.strip()


@pytest.mark.parametrize("results", PUBLISHED, ids=lambda path: path.parent.name)
def test_command_of_our_page_is_one_that_plans_each_row_of_its_table(results: Path) -> None:
    saved = json.loads(results.read_text(encoding="utf-8"))
    _, _, module, _, config, *words = shlex.split(saved["command"])
    study, report = read_study([config], words)
    assert module == "experiments.study" and plan_children(study)
    (planned, *_) = [report.tables(study, Results({}))[-1]]
    table = saved["tables"][-1]
    assert (planned.name, list(planned.columns)) == (table["table"], table["columns"])
    if results.parent.name != "inference_cost":  # whose rows are those that a benchmark left
        labels = {tuple(row.labels.items()) for row in planned.rows}
        assert labels == {
            tuple((key, row[key]) for key in table["columns"] if key in row)
            for row in table["rows"]
        }


@pytest.mark.parametrize("results", PUBLISHED, ids=lambda path: path.parent.name)
def test_figures_in_the_words_of_our_page_are_in_the_results(results: Path) -> None:
    """Of three digits behind the point or more; rounded they are one of the study's numbers."""
    page = results.parents[1].with_suffix(".md").read_text(encoding="utf-8")
    (section,) = [
        part for part in page.split("\n## ") if f"<!-- study {results.parent.name} -->" in part
    ]
    prose = re.sub(r"<!-- study (\w+) -->.*?<!-- end of \1 -->", "", section, flags=re.DOTALL)
    known = set()
    for file in re.findall(r"<!-- study (\w+) -->", section):
        saved = json.loads((results.parents[1] / file / RESULTS_NAME).read_text(encoding="utf-8"))
        known |= {word.lstrip("+-") for word in re.findall(NUMBER, " ".join(saved["answers"]))}
        for row in (row for table in saved["tables"] for row in table["rows"]):
            found = [*row["values"], *(row[key] for key in ("mean", "low", "high", "paper"))]
            known |= {f"{value:.3f}" for value in found if value is not None}
    said = {word.lstrip("+-") for word in re.findall(NUMBER, prose)}
    assert not said - known
