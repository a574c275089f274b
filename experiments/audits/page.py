"""An audit as one HTML file: figures, plots, and thumbnails of what was found side by side.

The file needs nothing beside it. Every word from the data is escaped.
"""

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import cv2
from matplotlib.figure import Figure

from datamodules.decode import open_image
from experiments.audits.findings import Finding, Section
from experiments.audits.report import figures_table, kind_lines, shortened
from experiments.tables import Table, format_cell

THUMBNAIL_PX = 160
PAIRS_OF_A_KIND = 24
BARS = 25
PAIRED_KINDS = ("leak", "label_disagreement", "exact_copy", "near_copy", "turned_copy")
STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; margin: 1rem 0; display: block; overflow-x: auto }
td, th { border: 1px solid var(--line); padding: .2rem .6rem; text-align: left }
td + td { text-align: right } th { background: var(--soft) }
figure { display: inline-block; margin: .5rem; padding: .5rem; border: 1px solid var(--line) }
figcaption { font-size: 12px; max-width: 22rem; overflow-wrap: anywhere }
img { max-width: 100% } code { overflow-wrap: anywhere } details { margin: .5rem 0 }
"""


def to_page(title: str, sections: Sequence[Section], root: Path | None) -> str:
    """The audit as HTML. root: where the findings' pictures lie, None without pictures."""
    body = [f"<h1>Audit of {escape(title)}</h1>"]
    for section in sections:
        body.append(f"<h2>{escape(section.title)}</h2>")
        if section.note:
            body.append(f"<p><em>{escape(section.note)}.</em></p>")
        body.append(table_html(figures_table(section)))
        for table in section.tables:
            body += [f"<h3>{escape(table.title)}</h3>", plot_html(table), table_html(table)]
        for kind in sorted({finding.kind for finding in section.findings}):
            chosen = [finding for finding in section.findings if finding.kind == kind]
            body.append(f"<h3>{escape(kind)}: {len(chosen)}</h3>")
            if root is not None and kind in PAIRED_KINDS:
                body.append(pairs_html(chosen, root))
            lines = "".join(f"<li>{escape(line[2:])}</li>" for line in kind_lines(chosen, kind))
            body.append(f"<details><summary>in words</summary><ul>{lines}</ul></details>")
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        "<meta http-equiv='Content-Security-Policy' "
        "content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>Audit of {escape(title)}</title><style>{STYLE}</style></head>"
        f"<body>{''.join(body)}</body></html>\n"
    )


def table_html(table: Table) -> str:
    """A table; long ones say how many rows were left out."""
    head = "".join(f"<th>{escape(column)}</th>" for column in table.columns)
    rows = "".join(
        "<tr>" + "".join(f"<td>{escape(format_cell(cell))}</td>" for cell in row) + "</tr>"
        for row in shortened(table).rows
    )
    return f"<table><tr>{head}</tr>{rows}</table>"


def plot_html(table: Table) -> str:
    """The last column of a table as bars, the first rows of it; "" where it holds no numbers."""
    rows = [row for row in table.rows[:BARS] if isinstance(row[-1], int | float)]
    if not rows:
        return ""
    figure = Figure(figsize=(8, 0.5 + 0.25 * len(rows)), layout="constrained")
    axes = figure.subplots()
    names = [str(row[0])[:40].replace("$", r"\$") for row in rows]
    axes.barh(range(len(rows)), [float(row[-1] or 0) for row in rows], color="#4477aa")
    axes.set_yticks(range(len(rows)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(table.columns[-1])
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=90)
    return f"<img alt='{escape(table.title)}' src='{data_url(written.getvalue(), 'png')}'>"


def pairs_html(findings: Sequence[Finding], root: Path) -> str:
    """Pictures of the first findings, two by two, with names and evidence below."""
    figures = []
    for finding in findings[:PAIRS_OF_A_KIND]:
        pictures = "".join(thumbnail_html(root / name) for name in (finding.image, finding.other))
        words = f"{finding.image} | {finding.other}: {finding.evidence}"
        figures.append(f"<figure>{pictures}<figcaption>{escape(words)}</figcaption></figure>")
    left_out = len(findings) - len(figures)
    more = f"<p>and {left_out} more pairs without pictures</p>" if left_out > 0 else ""
    return "".join(figures) + more


def thumbnail_html(path: Path) -> str:
    """A small JPEG of a picture; what is wrong with it where it cannot be opened."""
    try:
        picture = open_image(path)
    except (FileNotFoundError, ValueError) as error:
        return f"<span>{escape(str(error))}</span>"
    scale = THUMBNAIL_PX / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    return f"<img alt='' src='{data_url(data.tobytes(), 'jpeg')}'>"


def data_url(data: bytes, kind: str) -> str:
    """A picture within the page itself."""
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"
