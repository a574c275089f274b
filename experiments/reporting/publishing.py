"""A report as files, and as a few lines in a page of the documentation with its files beside it.

The page names a study by a pair of comments, and what stands between them is written here:
`<!-- study NAME -->` and `<!-- end of NAME -->`. A test holds that page and results agree.
"""

import json
import math
import shutil
from pathlib import Path

from experiments.reporting.report import Report
from experiments.reporting.rows import Row
from experiments.tables import to_csv, to_latex, to_markdown

RESULTS_NAME, ANSWERS_NAME = "results.json", "answers.md"
WRITERS = {"md": to_markdown, "csv": to_csv, "tex": to_latex}


def write_report(report: Report, folder: Path, *, command: str) -> None:
    """Each table as .md, .csv and .tex, charts as .png, answers.md and results.json.

    command: the words that made it, which results.json says too.
    """
    for table in report.tables:
        for suffix, write in WRITERS.items():
            file = folder / f"{table.name}.{suffix}"
            file.write_text(write(table.as_table()).rstrip("\n") + "\n", encoding="utf-8")
    for name, chart in report.charts.items():
        chart.savefig(folder / f"{name}.png", dpi=150, bbox_inches="tight")
    if report.answers:
        lines = "".join(f"- {answer}\n" for answer in report.answers)
        (folder / ANSWERS_NAME).write_text(lines, encoding="utf-8")
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
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / RESULTS_NAME).write_text(f"{text}\n", encoding="utf-8")


def saved_row(row: Row) -> dict[str, object]:
    """The row's figures in full, with the runs that they come from."""
    ours, paper = row.ours, row.paper
    has_interval = ours is not None and math.isfinite(ours.low)
    return {
        **row.labels,
        "figure": row.figure,
        "values": list(ours.values) if ours else [],
        "mean": ours.mean if ours else None,
        "low": ours.low if ours and has_interval else None,
        "high": ours.high if ours and has_interval else None,
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
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(report, folder, ignore=shutil.ignore_patterns("*.csv", "*.tex"))
    first, last = _marks(name)
    text = page.read_text(encoding="utf-8")
    if first not in text:
        text = text.rstrip("\n") + f"\n\n{first}\n{last}\n"
    before, _, rest = text.partition(first)
    after = rest.partition(last)[2]
    block = study_block(folder / RESULTS_NAME)
    page.write_text(f"{before}{first}\n{block}\n{last}{after}", encoding="utf-8")


def check_page(page: Path, name: str) -> None:
    """FileNotFoundError for a page that is missing, ValueError where the study has no one place."""
    if not page.is_file():
        raise FileNotFoundError(f"{page} is missing: make the page, then publish into it")
    text = page.read_text(encoding="utf-8")
    first, last = _marks(name)
    counts = (text.count(first), text.count(last))
    if counts not in ((0, 0), (1, 1)) or text.find(first) > text.find(last):
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


def _marks(name: str) -> tuple[str, str]:
    """The comments around a study's lines."""
    return f"<!-- study {name} -->", f"<!-- end of {name} -->"
