"""Results as one HTML page: a card per image with thumbnail, outlines, names and scores.

The page itself is `report.html`, its filters are `report.js`; every word that a user gave is
escaped. It needs nothing beside it and no network, and its policy says so to the browser.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from string import Template
from urllib.parse import quote

import cv2

from callbacks.drawing import class_color
from experiments.inference.inputs import InputImage
from experiments.inference.outlines import TOLERANCES_PX, trace_rings
from experiments.inference.result_files import AddResult
from experiments.predictor import NamedInstance, Result

PAGE, SCRIPT = (Path(__file__).with_name(name) for name in ("report.html", "report.js"))
THUMBNAIL_PX = 256
# A browser holds a page of this many thumbnails of about 10 kB with ease.
MAX_THUMBNAILS = 3000


@contextmanager
def report_page(path: Path, names: Sequence[str]) -> Iterator[AddResult]:
    """The page with a card for each result.

    names: by class id. Beyond MAX_THUMBNAILS cards are without image and link to the overlay.
    """
    cards: list[str] = []

    def add(image: InputImage, result: Result) -> None:
        is_shown = len(cards) < MAX_THUMBNAILS
        cards.append(_card(image, result, _thumbnail(result) if is_shown else "look at the image"))

    yield add
    script = SCRIPT.read_text(encoding="utf-8")
    left_out = max(0, len(cards) - MAX_THUMBNAILS)
    options = [f"<option value='{k}'>{escape(name)}</option>" for k, name in enumerate(names)]
    colors = [f".k{k} {{ --color: rgb{class_color(k)} }}" for k in range(1, len(names))]
    page = Template(PAGE.read_text(encoding="utf-8")).substitute(
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        colors="\n".join(colors),
        answers="".join(options),
        types="".join(options[1:]),
        cards="\n".join(cards),
        note=f"{left_out} images are without thumbnail: click for theirs." if left_out else "",
    )
    path.write_text(page, encoding="utf-8")


def _card(image: InputImage, result: Result, thumbnail: str) -> str:
    """One image's card, its thumbnail linked to the overlay at full size."""
    types = sorted({one.class_id for one in result.instances})
    lines = "".join(
        f"<li class='k{one.class_id}'>{escape(one.name)} {one.score:.2f}</li>"
        for one in result.instances
    )
    review = " &middot; <b>needs review</b>" if result.needs_review else ""
    file_name = escape(image.file_name, quote=True)
    return (
        f"<figure data-image='{file_name}' data-answer='{result.names.index(result.name)}' "
        f"data-types='{' '.join(map(str, types))}' data-score='{result.image_score:.4f}' "
        f"data-review='{int(result.needs_review)}'{' class=review' if result.needs_review else ''}>"
        f"<a class='image' href='overlays/{quote(image.name)}.png'>{thumbnail}</a>"
        f"<figcaption>{file_name}<br><b>{escape(result.name)}</b> {result.image_score:.2f}{review}"
        f"<ul>{lines}</ul></figcaption></figure>"
    )


def _thumbnail(result: Result) -> str:
    """A small JPEG within the page, and the outlines over it in the image's own pixels."""
    height, width = result.image.shape[:2]
    scale = min(1.0, THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(result.image, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    address = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    outlines = "".join(_outline(one, TOLERANCES_PX[0] / scale) for one in result.instances)
    return (
        f"<img alt='' width='{size[0]}' height='{size[1]}' src='{address}'>"
        f"<svg viewBox='0 0 {width} {height}' preserveAspectRatio='none'>{outlines}</svg>"
    )


def _outline(instance: NamedInstance, tolerance_px: float) -> str:
    """An instance's rings as one SVG path, with its name and the next where the mouse rests."""
    rings = trace_rings(instance.mask, tolerance_px=tolerance_px)
    way = "".join("M" + " ".join(f"{x},{y}" for x, y in ring.tolist()) + "Z" for ring in rings)
    others = "".join(f", or {name} ({share:.0%})" for name, share in instance.runners_up)
    words = escape(f"{instance.name} {instance.score:.2f}{others}")
    return f"<path class='k{instance.class_id}' d='{way}'><title>{words}</title></path>"
