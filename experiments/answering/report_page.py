"""Answers as one HTML page: a card per image with thumbnail, outlines, names and scores.

It is written card by card, so that its size is no matter of memory; every word that a user gave is
escaped. What stands around the cards is `report_frame.py`.
"""

import base64
from collections.abc import Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import cv2

from experiments.answering.answer import Answer, NamedInstance
from experiments.answering.inputs import AskedImage
from experiments.answering.outlines import TOLERANCES_PX, trace_rings
from experiments.answering.picture_files import OVERLAYS_FOLDER
from experiments.answering.report_frame import page_end, page_head

THUMBNAIL_PX = 256
# A browser holds a page of this many thumbnails of about 10 kB with ease.
MAX_THUMBNAILS = 3000


class ReportPage:
    """Writes the page's head, a card for each answer as it comes, and the script that filters.

    names: by class id. Beyond MAX_THUMBNAILS cards are without picture and link to the overlay.
    """

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        self._file = path.open("w", encoding="utf-8")
        self._card_count = 0
        self._file.write(page_head(names))

    def add(self, image: AskedImage, answer: Answer) -> None:
        """Writes the card of one image."""
        self._card_count += 1
        picture = _thumbnail(answer) if self._card_count <= MAX_THUMBNAILS else "look at the image"
        self._file.write(_card(image, answer, picture))

    def close(self) -> None:
        """Ends the page and closes the file."""
        left_out = max(0, self._card_count - MAX_THUMBNAILS)
        note = f"{left_out} images are without thumbnail: click for theirs." if left_out else ""
        self._file.write(page_end(note))
        self._file.close()


def _card(image: AskedImage, answer: Answer, picture: str) -> str:
    """One image's card, its picture linked to the overlay at full size."""
    types = sorted({one.class_id for one in answer.instances})
    lines = "".join(
        f"<li class='k{one.class_id}'>{escape(one.name)} {one.score:.2f}</li>"
        for one in answer.instances
    )
    review = " &middot; <b>needs review</b>" if answer.needs_review else ""
    file_name = escape(image.file_name, quote=True)
    return (
        f"<figure data-image='{file_name}' data-answer='{answer.names.index(answer.name)}' "
        f"data-types='{' '.join(map(str, types))}' data-score='{answer.image_score:.4f}' "
        f"data-review='{int(answer.needs_review)}'{' class=review' if answer.needs_review else ''}>"
        f"<a class='picture' href='{OVERLAYS_FOLDER}/{quote(image.name)}.png'>{picture}</a>"
        f"<figcaption>{file_name}<br><b>{escape(answer.name)}</b> {answer.image_score:.2f}{review}"
        f"<ul>{lines}</ul></figcaption></figure>\n"
    )


def _thumbnail(answer: Answer) -> str:
    """A small JPEG within the page, and the outlines over it in the image's own pixels."""
    height, width = answer.picture.shape[:2]
    scale = min(1.0, THUMBNAIL_PX / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(answer.picture, size, interpolation=cv2.INTER_AREA)
    _, data = cv2.imencode(".jpg", small[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 80])
    address = f"data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}"
    outlines = "".join(_outline(one, TOLERANCES_PX[0] / scale) for one in answer.instances)
    return (
        f"<img alt='' width='{size[0]}' height='{size[1]}' src='{address}'>"
        f"<svg viewBox='0 0 {width} {height}' preserveAspectRatio='none'>{outlines}</svg>"
    )


def _outline(instance: NamedInstance, tolerance_px: float) -> str:
    """An instance's rings as one SVG path, with its name where the mouse rests."""
    rings = trace_rings(instance.mask, tolerance_px=tolerance_px)
    way = "".join("M" + " ".join(f"{x},{y}" for x, y in ring.tolist()) + "Z" for ring in rings)
    words = f"{escape(instance.name)} {instance.score:.2f}"
    return f"<path class='k{instance.class_id}' d='{way}'><title>{words}</title></path>"
