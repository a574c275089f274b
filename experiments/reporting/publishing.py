"""A report as files, and as a few lines in a page of the documentation with its files beside it.

The page names a study by a pair of comments, and what stands between them is written here:
`<!-- study NAME -->` and `<!-- end of NAME -->`. A test holds that page and results agree.
"""

import json
import math
import re
import shutil
from pathlib import Path

from experiments.reporting.paper_tables import NUMBERS, Report, Row
from experiments.tables import to_csv, to_latex, to_markdown

RESULTS_NAME, ANSWERS_NAME = "results.json", "answers.md"


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
    _write(folder / ANSWERS_NAME, "\n".join(f"- {answer}" for answer in report.answers))
    content = {
        "command": command,
        "tables": [
            {
                "table": table.name,
                "title": table.title,
                "columns": list(table.columns),
                "rows": [saved_row(row) for row in table.rows],
            }
            for table in report.tables
        ],
        "answers": list(report.answers),
        "charts": sorted(f"{name}.png" for name in report.charts),
    }
    _write(folder / RESULTS_NAME, json.dumps(content, indent=2, ensure_ascii=False))


def saved_row(row: Row) -> dict[str, object]:
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


def publish(report: Path, page: Path, name: str) -> None:
    """Copies a report's results, charts and tables beside the page, and names them in it.

    A study that the page does not name yet comes at its end. Raises as `check_page`.
    """
    check_page(page, name)
    folder = page.with_suffix("") / name
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    for file in report.iterdir():
        if file.suffix in (".json", ".png", ".md") and file.stat().st_size:
            shutil.copyfile(file, folder / file.name)
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


def study_block(results: Path) -> str:
    """What a page shows of a results.json: its charts, its tables' files, its command."""
    saved = json.loads(results.read_text(encoding="utf-8"))
    folder = f"{results.parents[1].name}/{results.parent.name}"
    charts = " ".join(f"![{Path(file).stem}]({folder}/{file})" for file in saved["charts"])
    tables = [f"[{one['title']}]({folder}/{one['table']}.md)" for one in saved["tables"]]
    if saved["answers"]:
        tables.append(f"[answers]({folder}/{ANSWERS_NAME})")
    return f"{charts}\n\n{', '.join(tables)}: `{saved['command']}`".strip()


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
