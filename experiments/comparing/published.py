"""Studies in a page of the documentation, each made from the results that lie beside it.

The page names a study by a pair of comments, and what stands between them is written here:
`<!-- study NAME -->` and `<!-- end of NAME -->`. A test holds that page and results agree.
"""

import json
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from experiments.comparing.estimates import Estimate
from experiments.comparing.paper_tables import PaperFigure, PaperTable, Row
from experiments.comparing.study_files import RESULTS_NAME
from experiments.tables import to_markdown


def publish(report: Path, page: Path, name: str) -> None:
    """Copies a report's results and charts beside the page and writes its tables into it.

    A study that the page does not name yet comes at its end. Raises as `check_page`.
    """
    check_page(page, name)
    folder = page.with_suffix("") / name
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    charts = json.loads((report / RESULTS_NAME).read_text(encoding="utf-8"))["charts"]
    for file in (RESULTS_NAME, *charts):
        shutil.copyfile(report / file, folder / file)
    text = page.read_text(encoding="utf-8")
    first, last = markers(name)
    if first not in text:
        text = text.rstrip("\n") + f"\n\n{first}\n{last}\n"
    block = f"{first}\n\n{study_text(folder / RESULTS_NAME)}\n\n{last}"
    page.write_text(between(name).sub(lambda _: block, text), encoding="utf-8")


def check_page(page: Path, name: str) -> None:
    """FileNotFoundError for a page that is missing, ValueError where the study has no one place."""
    if not page.is_file():
        raise FileNotFoundError(f"{page} is missing: make the page, then publish into it")
    text = page.read_text(encoding="utf-8")
    counts = [text.count(mark) for mark in markers(name)]
    if counts != [0, 0] and (counts != [1, 1] or not between(name).search(text)):
        first, last = markers(name)
        raise ValueError(
            f"{page} has {first} {counts[0]} times and {last} {counts[1]} times: expected each "
            "once, in this order, or neither"
        )


def markers(name: str) -> tuple[str, str]:
    """The comments around a study's tables."""
    return f"<!-- study {name} -->", f"<!-- end of {name} -->"


def between(name: str) -> re.Pattern[str]:
    """A study's comments and what stands between them."""
    first, last = markers(name)
    return re.compile(f"{re.escape(first)}.*?{re.escape(last)}", re.DOTALL)


def published_text(page: Path, name: str) -> str:
    """What the page has between a study's comments; ValueError where it does not name it."""
    found = between(name).search(page.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{page} has no tables of {name}: publish the study with --publish {page}")
    first, last = markers(name)
    return found[0].removeprefix(first).removesuffix(last).strip()


def study_text(results: Path) -> str:
    """What a results.json says, as Markdown: tables, answers, charts, the command and its runs."""
    said = json.loads(results.read_text(encoding="utf-8"))
    tables = [read_table(one) for one in said["tables"]]
    runs = sorted({run for table in tables for row in table.rows for run in row.runs})
    folder = f"{results.parents[1].name}/{results.parent.name}"
    parts = [
        *(to_markdown(table.as_table()) for table in tables),
        "\n".join(f"- {answer}" for answer in said["answers"]),
        "\n".join(f"![{Path(chart).stem}]({folder}/{chart})" for chart in said["charts"]),
        f"```\n{said['command']}\n```",
        f"Runs: {', '.join(runs) or 'none'}",
    ]
    return "\n\n".join(part for part in parts if part)


def read_table(saved: Mapping[str, object]) -> PaperTable:
    """A table as `study_files.py` wrote it."""
    columns, rows = saved["columns"], saved["rows"]
    assert isinstance(columns, list) and isinstance(rows, list)
    names = tuple(map(str, columns))
    return PaperTable(
        str(saved["table"]), str(saved["title"]), names, tuple(read_row(row, names) for row in rows)
    )


def read_row(saved: Mapping[str, object], columns: tuple[str, ...]) -> Row:
    """One of its rows."""
    values, runs = saved["values"], saved["runs"]
    assert isinstance(values, list) and isinstance(runs, list)
    ours = None
    if values:
        mean, low, high = (number(saved[key]) for key in ("mean", "low", "high"))
        ours = Estimate(mean, low, high, tuple(map(number, values)))
    paper = None
    if saved["paper"] is not None:
        told = [str(saved[key]) for key in ("paper_source", "paper_setting", "paper_data")]
        paper = PaperFigure(number(saved["paper"]), *told)
    return Row(
        {column: str(saved[column]) for column in columns if column in saved},
        str(saved["figure"]),
        ours,
        paper,
        setting=str(saved["setting"]),
        data=str(saved["data"]),
        scale=str(saved["scale"]),
        runs=tuple(map(str, runs)),
        outcome=str(saved["outcome"]),
    )


def number(value: object) -> float:
    """A number of a JSON file, nan for null."""
    return math.nan if value is None else float(str(value))
