"""The folder of a study: its report in every format, its children's logs, and its lock."""

import fcntl
import json
import math
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

from experiments.comparing.paper_tables import PaperTable, Report
from experiments.tables import to_csv, to_latex, to_markdown

RESULTS_NAME = "results.json"
LOCK_SECONDS, LOOK_SECONDS = 120.0, 0.5


class StudyFolder:
    """`output`/studies/NAME: report/ (tables, figures, results.json), logs/, .lock."""

    REPORT: ClassVar[str] = "report"

    def __init__(self, output: Path, name: str) -> None:
        self.path = output / "studies" / name

    def log_of(self, child: str) -> Path:
        """What a child wrote, over all its attempts."""
        return self.path / "logs" / f"{child}.log"

    @contextmanager
    def held(self, *, shared: bool = False) -> Iterator[int]:
        """Holds the study and gives the lock's file descriptor.

        Alone, or shared with others that run one child each. Children that inherit it hold the
        study too: those of a study that was killed may still be saving, and a second process waits
        for them. ValueError where they do not end.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / ".lock").open("w") as file:
            give_up = time.monotonic() + LOCK_SECONDS
            while not _lock(file.fileno(), fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
                if time.monotonic() > give_up:
                    raise ValueError(
                        f"study {self.path.name} is being run by another process: wait for it, "
                        "end it, or give this one another --name"
                    )
                time.sleep(LOOK_SECONDS)
            yield file.fileno()

    def write(self, report: Report, *, command: str) -> Path:
        """The report's files, see `write_report`, in the place of an older report's."""
        folder = self.path / self.REPORT
        if folder.exists():
            shutil.rmtree(folder)  # it may have charts that this report has no more
        folder.mkdir(parents=True)
        write_report(report, folder, command=command)
        return folder


def write_report(report: Report, folder: Path, *, command: str) -> None:
    """Each table as .md, .csv and .tex, figures as .png, answers.md and results.json.

    command: the words that made it, which results.json says too.
    """
    for table in report.tables:
        plain = table.as_table()
        texts = {
            "md": to_markdown(plain),
            "tex": to_latex(plain),
            "csv": to_csv(table.as_numbers()),
        }
        for suffix, text in texts.items():
            file = folder / f"{table.name}.{suffix}"
            file.write_text(text.rstrip("\n") + "\n", encoding="utf-8")
    for name, figure in report.figures.items():
        figure.savefig(folder / f"{name}.png", dpi=150, bbox_inches="tight")
    answers = "".join(f"- {answer}\n" for answer in report.answers)
    (folder / "answers.md").write_text(answers, encoding="utf-8")
    content = {
        "command": command,
        "tables": [_numbers(table) for table in report.tables],
        "answers": list(report.answers),
        "charts": sorted(f"{name}.png" for name in report.figures),
    }
    text = json.dumps(content, indent=2, ensure_ascii=False)
    (folder / RESULTS_NAME).write_text(text + "\n", encoding="utf-8")


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _numbers(table: PaperTable) -> dict[str, object]:
    """The table's figures in full, with the runs that they come from."""
    return {
        "table": table.name,
        "title": table.title,
        "columns": list(table.columns),
        "rows": [
            {
                **row.labels,
                "figure": row.figure,
                "values": list(row.ours.values) if row.ours else [],
                "mean": _number(row.ours.mean) if row.ours else None,
                "low": _number(row.ours.low) if row.ours else None,
                "high": _number(row.ours.high) if row.ours else None,
                "paper": row.paper.value if row.paper else None,
                "paper_source": row.paper.source if row.paper else None,
                "paper_setting": row.paper.setting if row.paper else None,
                "paper_data": row.paper.data if row.paper else None,
                "status": row.status,
                "outcome": row.outcome,
                "setting": row.setting,
                "data": row.data,
                "scale": row.scale,
                "runs": list(row.runs),
            }
            for row in table.rows
        ],
    }


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
