"""An audit as one HTML file: figures, bars, and thumbnails of what was found side by side.

The file needs nothing beside it. Every word from the data is escaped.
"""

import base64
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

import cv2

from datamodules.decode import open_image
from experiments.audits.findings import LINES_OF_A_KIND, ROWS_OF_A_TABLE, Finding, Section
from experiments.tables import Table, format_cell

THUMBNAIL_PX = 160
PAIRS_OF_A_KIND = 24
LONGEST_TEXT = 200
PAIRED_KINDS = ("leak", "label_disagreement", "exact_copy", "near_copy", "turned_copy")
HEAD = """<!doctype html><html lang='en'><head><meta charset='utf-8'>
<meta name='viewport' content='width=device-width'><meta http-equiv='Content-Security-Policy'
content="default-src 'none'; img-src data:; style-src 'unsafe-inline'"><title>Audit</title><style>
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
td, th { border: 1px solid var(--line); padding: .2rem .6rem; text-align: left }
td + td { text-align: right } th { background: var(--soft) }
figure { display: inline-block; margin: .5rem; padding: .5rem; border: 1px solid var(--line) }
figcaption { font-size: 12px; max-width: 22rem; overflow-wrap: anywhere }
img { max-width: 100% } code { overflow-wrap: anywhere } details { margin: .5rem 0 }
</style></head><body>
"""


def to_page(title: str, sections: Sequence[Section], root: Path | None) -> str:
    """The audit as HTML. root: where the findings' images lie, None without images."""
    parts = [f"{HEAD}<h1>Audit of {escape(title)}</h1>"]
    for section in sections:
        parts.append(f"<h2>{escape(section.title)}</h2>")
        parts.append(f"<p><em>{escape(section.note)}</em></p>" if section.note else "")
        parts.append(table_html(section.figures_table()))
        for table in section.tables:
            parts += [f"<h3>{escape(table.title)}</h3>", table_html(table, has_bars=True)]
        for kind in sorted({finding.kind for finding in section.findings}):
            chosen = [finding for finding in section.findings if finding.kind == kind]
            parts.append(f"<h3>{escape(kind)}: {len(chosen)}</h3>")
            if root is not None and kind in PAIRED_KINDS:
                parts += pairs_html(chosen, root)
            parts.append(f"<details><summary>in words</summary><ul>{list_html(chosen)}</ul>")
            parts.append("</details>")
    return "\n".join([*parts, "</body></html>\n"])


def table_html(table: Table, *, has_bars: bool = False) -> str:
    """A table of at most ROWS_OF_A_TABLE rows; with bars behind the numbers of its last column."""
    shown = table.rows[:ROWS_OF_A_TABLE]
    largest = max([cell for row in shown if isinstance(cell := row[-1], int | float)], default=0)
    lines = ["".join(f"<th>{escape(column)}</th>" for column in table.columns)]
    for *cells, last in shown:
        share = last / largest if has_bars and largest and isinstance(last, int | float) else 0
        bar = f"background: linear-gradient(to left, #47a8 {share:.0%}, transparent 0)"
        lines.append(
            "".join(f"<td>{escape(format_cell(cell))}</td>" for cell in cells)
            + f'<td style="{bar if share else ""}">{escape(format_cell(last))}</td>'
        )
    left_out = len(table.rows) - len(shown)
    lines += [f"<td>and {left_out} more</td>"] if left_out else []
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def list_html(findings: Sequence[Finding]) -> str:
    """The first findings as a list, and how many more there are."""
    lines = [
        f"<code>{cut(one.image)}</code>"
        + (f" - <code>{cut(one.other)}</code>" if one.other else "")
        + f": {cut(one.evidence)}"
        for one in findings[:LINES_OF_A_KIND]
    ]
    left_out = len(findings) - len(lines)
    lines += [f"and {left_out} more, all in findings.csv"] if left_out else []
    return "".join(f"<li>{line}</li>" for line in lines)


def pairs_html(findings: Sequence[Finding], root: Path) -> Iterator[str]:
    """Images of the first findings, two by two, with names and evidence below."""
    for finding in findings[:PAIRS_OF_A_KIND]:
        pair = "".join(thumbnail_html(root / name) for name in (finding.image, finding.other))
        words = f"{finding.image} | {finding.other}: {finding.evidence}"
        yield f"<figure>{pair}<figcaption>{escape(words)}</figcaption></figure>"
    if (left_out := len(findings) - PAIRS_OF_A_KIND) > 0:
        yield f"<p>and {left_out} more pairs without images</p>"


def thumbnail_html(path: Path) -> str:
    """A small JPEG of an image; what is wrong with it where it cannot be opened."""
    try:
        image = open_image(path)
    except (FileNotFoundError, ValueError) as error:
        return f"<span>{escape(str(error))}</span>"
    scale = THUMBNAIL_PX / max(image.shape[:2])
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    return f"<img alt='' src='data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}'>"


def cut(text: str) -> str:
    """Text on one line, escaped, cut where it is very long."""
    line = " ".join(text.split())
    return escape(line if len(line) <= LONGEST_TEXT else f"{line[: LONGEST_TEXT - 3]}...")
