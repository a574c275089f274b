"""A report as files, and as a few lines in a page of the documentation with its tables beside it.

The page names a study by a pair of comments, and what stands between them is written here:
`<!-- study NAME -->` and `<!-- end of NAME -->`. A test holds that page and results agree.
"""

import json
import math
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from experiments.reporting.paper_figures import PaperFigure
from experiments.reporting.paper_tables import NUMBERS, PaperTable, Report, Row, estimate
from experiments.tables import to_csv, to_latex, to_markdown

RESULTS_NAME = "results.json"


def write_report(report: Report, folder: Path, *, command: str) -> None:
    """Each table as .md, .csv and .tex, charts as .png, answers.md and results.json.

    command: the words that made it, which results.json says too.
    """
    for table in report.tables:
        texts = {
            "md": to_markdown(table.as_table()),
            "tex": to_latex(table.as_table()),
            "csv": to_csv(table.as_table(NUMBERS)),
        }
        for suffix, text in texts.items():
            _write(folder / f"{table.name}.{suffix}", text)
    for name, chart in report.charts.items():
        chart.savefig(folder / f"{name}.png", dpi=150, bbox_inches="tight")
    _write(folder / "answers.md", "\n".join(f"- {answer}" for answer in report.answers))
    content = {
        "command": command,
        "tables": [
            {
                "table": table.name,
                "title": table.title,
                "columns": list(table.columns),
                "rows": [_saved(row) for row in table.rows],
            }
            for table in report.tables
        ],
        "answers": list(report.answers),
        "charts": sorted(f"{name}.png" for name in report.charts),
    }
    _write(folder / RESULTS_NAME, json.dumps(content, indent=2, ensure_ascii=False))


def publish(report: Path, page: Path, name: str) -> None:
    """Copies a report's results and charts beside the page with its tables, and names them there.

    A study that the page does not name yet comes at its end. Raises as `check_page`.
    """
    check_page(page, name)
    folder = page.with_suffix("") / name
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    saved = json.loads((report / RESULTS_NAME).read_text(encoding="utf-8"))
    for file in (RESULTS_NAME, *saved["charts"]):
        shutil.copyfile(report / file, folder / file)
    for file, text in table_files(folder / RESULTS_NAME).items():
        _write(folder / file, text)
    text = page.read_text(encoding="utf-8")
    first, last = _marks(name)
    if first not in text:
        text = text.rstrip("\n") + f"\n\n{first}\n{last}\n"
    block = f"{first}\n{study_block(folder / RESULTS_NAME)}\n{last}"
    page.write_text(_between(name).sub(lambda _: block, text), encoding="utf-8")


def check_page(page: Path, name: str) -> None:
    """FileNotFoundError for a page that is missing, ValueError where the study has no one place."""
    if not page.is_file():
        raise FileNotFoundError(f"{page} is missing: make the page, then publish into it")
    text = page.read_text(encoding="utf-8")
    counts = [text.count(mark) for mark in _marks(name)]
    if counts != [0, 0] and (counts != [1, 1] or not _between(name).search(text)):
        first, last = _marks(name)
        raise ValueError(
            f"{page} has {first} {counts[0]} times and {last} {counts[1]} times: expected each "
            "once, in this order, or neither"
        )


def published_block(page: Path, name: str) -> str:
    """What the page has between a study's comments; ValueError where it does not name it."""
    found = _between(name).search(page.read_text(encoding="utf-8"))
    if found is None:
        raise ValueError(f"{page} has no word of {name}: publish the study with --publish {page}")
    first, last = _marks(name)
    return found[0].removeprefix(first).removesuffix(last).strip()


def study_block(results: Path) -> str:
    """What a page shows of a results.json: its charts, its tables' files, its command."""
    saved = json.loads(results.read_text(encoding="utf-8"))
    folder = f"{results.parents[1].name}/{results.parent.name}"
    charts = " ".join(f"![{Path(file).stem}]({folder}/{file})" for file in saved["charts"])
    tables = [f"[{one['title']}]({folder}/{one['table']}.md)" for one in saved["tables"]]
    if saved["answers"]:
        tables.append(f"[answers]({folder}/answers.md)")
    return f"{charts}\n\n{', '.join(tables)}: `{saved['command']}`".strip()


def table_files(results: Path) -> dict[str, str]:
    """The tables of a results.json as Markdown and CSV by file name, and its answers."""
    saved = json.loads(results.read_text(encoding="utf-8"))
    files = {}
    for table in map(read_table, saved["tables"]):
        files[f"{table.name}.md"] = to_markdown(table.as_table())
        files[f"{table.name}.csv"] = to_csv(table.as_table())
    if saved["answers"]:
        files["answers.md"] = "\n".join(f"- {answer}" for answer in saved["answers"])
    return files


def read_table(saved: Mapping[str, Any]) -> PaperTable:
    """A table as `write_report` wrote it."""
    columns = tuple(saved["columns"])
    rows = []
    for row in saved["rows"]:
        paper = None
        if row["paper"] is not None:
            place = (row["paper_source"], row["paper_setting"], row["paper_data"])
            paper = PaperFigure(row["paper"], *place)
        labels = {column: row[column] for column in columns if column in row}
        told = {key: row[key] for key in ("setting", "data", "scale", "outcome")}
        ours = estimate(row["values"])
        rows.append(Row(labels, row["figure"], ours, paper, runs=tuple(row["runs"]), **told))
    return PaperTable(saved["table"], saved["title"], columns, tuple(rows))


def _saved(row: Row) -> dict[str, object]:
    """The row's figures in full, with the runs that they come from."""
    ours, paper = row.ours, row.paper
    return {
        **row.labels,
        "figure": row.figure,
        "values": list(ours.values) if ours else [],
        "mean": _number(ours.mean) if ours else None,
        "low": _number(ours.low) if ours else None,
        "high": _number(ours.high) if ours else None,
        "paper": paper.value if paper else None,
        "paper_source": paper.source if paper else None,
        "paper_setting": paper.setting if paper else None,
        "paper_data": paper.data if paper else None,
        "status": row.status,
        "outcome": row.outcome,
        "setting": row.setting,
        "data": row.data,
        "scale": row.scale,
        "runs": list(row.runs),
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _write(file: Path, text: str) -> None:
    file.write_text(text.rstrip("\n") + "\n" if text else "", encoding="utf-8")


def _marks(name: str) -> tuple[str, str]:
    """The comments around a study's lines."""
    return f"<!-- study {name} -->", f"<!-- end of {name} -->"


def _between(name: str) -> re.Pattern[str]:
    """A study's comments and what stands between them."""
    first, last = _marks(name)
    return re.compile(f"{re.escape(first)}.*?{re.escape(last)}", re.DOTALL)
