"""Holds that a page's tables are those of the results beside it, in our own documentation too."""

import json
import re
import shlex
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from experiments.config import CONFIG_FOLDER
from experiments.reporting.plan import Study
from experiments.reporting.publishing import (
    RESULTS_NAME,
    publish,
    saved_row,
    study_block,
    write_report,
)
from experiments.reporting.report import Report, Results, bars
from experiments.reporting.rows import PAPER_ONLY, Estimate, PaperTable, Row
from experiments.studies.real_and_generated import COMPARED, DISTANCES, SPLIT
from experiments.study import read_study
from experiments.tables import to_markdown
from tests.experiments.reporting.finished_run import finished_run

DOCS = Path(__file__).parents[3] / "docs"
PAGE = DOCS / "results.md"
PUBLISHED = sorted((DOCS / "results").glob(f"*/{RESULTS_NAME}"))
EARLIER = "inference_cost"  # its rows are named as its benchmarks were before
NUMBER = r"[+-]?\b\d+\.\d{3}\b"
COMMAND = "python -m experiments.study --config studies/transfer.yaml"
TABLE = PaperTable("table_6", "Table 6: transfer", ("train",), (Row({"train": "a"}, "iou_image"),))


@pytest.fixture
def report(tmp_path: Path) -> Path:
    folder = tmp_path / "report"
    folder.mkdir()
    said = Report(
        (TABLE,),
        {"iou": bars({"a": Estimate(0.3, 0.2, 0.4, (0.3,) * 3)}, y="iou")},
        ("no t is best",),
    )
    write_report(said, folder, command=COMMAND)
    return folder


def test_page_gets_charts_and_links_and_keeps_its_own_words(report: Path, tmp_path: Path) -> None:
    page = tmp_path / "results.md"
    page.write_text("# Results\n\nbefore\n<!-- study transfer -->\nold\n<!-- end of transfer -->\n")
    for _ in range(2):
        publish(report, page, "transfer")
        assert page.read_text() == (
            "# Results\n\nbefore\n<!-- study transfer -->\n![iou](results/transfer/iou.png)\n\n"
            "[Table 6: transfer](results/transfer/table_6.md), "
            f"[answers](results/transfer/answers.md): `{COMMAND}`\n<!-- end of transfer -->\n"
        )
    copied = tmp_path / "results" / "transfer"
    assert {file.name for file in copied.iterdir()} == {
        *("answers.md", "iou.png", "results.json", "table_6.md")
    }
    assert (copied / "table_6.md").read_text().strip() == to_markdown(TABLE.as_table())
    publish(report, page, "new")
    assert page.read_text().endswith("<!-- end of new -->\n")


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


def test_each_study_that_we_ship_is_published_on_our_page_as_its_results_say() -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = re.findall(r"<!-- study (\w+) -->\n(.*?)\n<!-- end of \1 -->", page, re.DOTALL)
    assert dict(found) == {path.parent.name: study_block(path) for path in PUBLISHED}
    shipped = {path.stem for path in (CONFIG_FOLDER / "studies").glob("*.yaml")}
    assert {name for name, _ in found} == shipped


@pytest.mark.parametrize(
    "results",
    [path for path in PUBLISHED if path.parent.name != EARLIER],
    ids=lambda path: path.parent.name,
)
def test_published_figures_reported_anew_are_what_is_published(results: Path) -> None:
    saved = json.loads(results.read_text(encoding="utf-8"))
    _, _, _, _, config, *words = shlex.split(saved["command"])
    study, report = read_study([config], words)
    said = report.report(rebuilt(saved, study))
    tables = [json.loads(json.dumps([saved_row(row) for row in one.rows])) for one in said.tables]
    assert tables == [table["rows"] for table in saved["tables"]]
    assert list(said.answers) == saved["answers"]
    for table in said.tables:
        text = results.with_name(f"{table.name}.md").read_text(encoding="utf-8")
        assert text.strip() == to_markdown(table.as_table())


def rebuilt(saved: dict[str, Any], study: Study) -> Results:
    """What the children gave whose figures are saved; figures over several children are left out.

    Of a variant that not all seeds have run, the first have.
    """
    tags: dict[tuple[str, int], tuple[str, dict[str, str]]] = {}
    metrics: dict[tuple[str, int], dict[str, float]] = defaultdict(dict)
    for row in (row for table in saved["tables"] for row in table["rows"]):
        name, metric = variant_and_metric(row, study)
        for seed, run in zip(study.seeds, row["runs"] if name else [], strict=False):
            said = {"setting": row["setting"], "dataset": row["data"], "scale": row["scale"]}
            tags[name, seed] = (run, said)
        for seed, value in zip(study.seeds, row["values"] if name else [], strict=False):
            metrics[name, seed][metric] = value
    found = {key: finished_run(run, metrics[key], said) for key, (run, said) in tags.items()}
    return Results(study, found)


def variant_and_metric(row: dict[str, Any], study: Study) -> tuple[str, str]:
    """The variant and metric that a saved row is of; "" for the paper's and what is of several."""
    if row["status"] == PAPER_ONLY:
        return "", ""
    if study.name == "real_and_generated":
        distance, _, extractor = row["figure"].partition("_")
        return COMPARED, f"{SPLIT}/{distance}_{DISTANCES[distance][row['images']]}{extractor}"
    # Of names by example, what is of one run.
    metric, within = row["figure"], ()
    if "regions" in row:
        metric, within = f"{row['regions']}/k{row['K']}/{metric}", ("regions", "K")
    labels = {column: row.get(column) for column in study.columns if column not in within}
    names = [name for name, said in study.labels.items() if said == labels]
    return "".join(names), study.metric_of(metric)


@pytest.mark.parametrize("results", PUBLISHED, ids=lambda path: path.parent.name)
def test_figures_in_the_words_of_our_page_are_in_the_results(results: Path) -> None:
    """Of three digits behind the point or more; rounded they are one of the study's numbers."""
    sections = PAGE.read_text(encoding="utf-8").split("\n## ")
    (section,) = [part for part in sections if f"<!-- study {results.parent.name} -->" in part]
    prose = re.sub(r"<!-- study (\w+) -->.*?<!-- end of \1 -->", "", section, flags=re.DOTALL)
    known = set()
    for file in re.findall(r"<!-- study (\w+) -->", section):
        saved = json.loads((results.parents[1] / file / RESULTS_NAME).read_text(encoding="utf-8"))
        known |= {word.lstrip("+-") for word in re.findall(NUMBER, " ".join(saved["answers"]))}
        for row in (row for table in saved["tables"] for row in table["rows"]):
            found = [*row["values"], *(row[key] for key in ("mean", "low", "high", "paper"))]
            known |= {f"{value:.3f}" for value in found if value is not None}
    assert not {word.lstrip("+-") for word in re.findall(NUMBER, prose)} - known
