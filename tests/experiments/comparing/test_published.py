"""Holds that a page's tables are those of the results beside it, in our own documentation too."""

import re
from pathlib import Path

import pytest

from experiments.comparing.charts import bars
from experiments.comparing.estimates import estimate
from experiments.comparing.paper_tables import NOT_REACHED, PaperFigure, PaperTable, Report, Row
from experiments.comparing.published import publish, published_text, study_text
from experiments.comparing.study_files import RESULTS_NAME, StudyFolder
from experiments.configuration import CONFIG_FOLDER
from experiments.tables import to_markdown

DOCS = Path(__file__).parents[3] / "docs"
PUBLISHED = sorted(DOCS.glob(f"*/*/{RESULTS_NAME}"))
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
    said = Report((TABLE,), {"iou": bars({"a": estimate([0.3])}, y="iou")}, ("no t is best",))
    return StudyFolder(tmp_path / "out", "transfer").write(said, command=COMMAND)


def test_results_say_all_that_the_report_says(report: Path) -> None:
    text = study_text(report / RESULTS_NAME)
    assert text == (
        f"{to_markdown(TABLE.as_table())}\n\n- no t is best\n\n![iou](transfer/report/iou.png)"
        f"\n\n```\n{COMMAND}\n```\n\nRuns: r1, r2"
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
    assert published_text(page, "transfer") == study_text(copied)
    assert (copied.with_name("iou.png")).read_bytes() == (report / "iou.png").read_bytes()


def test_study_that_is_new_to_a_page_comes_at_its_end(report: Path, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Results\n")
    publish(report, page, "transfer")
    assert "Table 6: transfer" in published_text(page, "transfer")


def test_missing_page_is_refused(report: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.md is missing"):
        publish(report, tmp_path / "none.md", "transfer")


def test_each_study_that_we_ship_has_a_place_in_our_documentation() -> None:
    page = (DOCS / "results.md").read_text(encoding="utf-8")
    named = set(re.findall(r"<!-- study (\w+) -->", page))
    assert named == {path.stem for path in (CONFIG_FOLDER / "studies").glob("*.yaml")}
    assert named == {path.parent.name for path in PUBLISHED}


@pytest.mark.parametrize("results", PUBLISHED, ids=lambda path: path.parent.name)
def test_each_table_of_our_documentation_is_what_its_results_say(results: Path) -> None:
    page = results.parents[1].with_suffix(".md")
    assert published_text(page, results.parent.name) == study_text(results)
