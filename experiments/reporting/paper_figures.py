"""The paper's own figures, each with the place where it stands; numbers are in the YAML beside."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import yaml

ACCURACY, IOU, MILLISECONDS = "type_accuracy", "iou_image", "latency_ms"
UNSTATED = "unstated"


@dataclass(frozen=True, slots=True)
class PaperFigure:
    """One number of the paper in the unit of ours, its place, and what it was measured on."""

    value: float
    source: str
    setting: str
    data: str

    def fits(self, setting: str, data: str) -> bool:
        """Whether a figure of ours may stand beside it."""
        return (setting, data) == (self.setting, self.data)


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A row of one of the paper's tables: its labels by column, and its figures by our names."""

    labels: Mapping[str, str]
    figures: Mapping[str, PaperFigure]


@cache
def paper_tables() -> dict[str, tuple[PaperRow, ...]]:
    """The paper's tables by name, as far as one of our studies asks what they do."""
    text = Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8")
    tables = {}
    for name, table in yaml.safe_load(text).items():
        rows = []
        for row in table["rows"]:
            labels = {column: cell for column, cell in row.items() if isinstance(cell, str)}
            setting = table.get("setting", UNSTATED)
            place = (table["source"], setting, table.get("data", "").format(**labels))
            figures = {
                name: PaperFigure(cell, *place) for name, cell in row.items() if name not in labels
            }
            rows.append(PaperRow(labels, figures))
        tables[name] = tuple(rows)
    return tables


def paper_figure(table: str, labels: Mapping[str, str], figure: str) -> PaperFigure | None:
    """The paper's figure in the row whose labels are among these; None where it has none."""
    for row in paper_tables()[table] if table else ():
        if row.labels.items() <= labels.items():
            return row.figures.get(figure)
    return None
