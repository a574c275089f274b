"""Results as one HTML page: a card per image with thumbnail, outlines, names and scores.

It is written card by card, so that its size is no matter of memory; every word that a user gave is
escaped. It needs nothing beside it and no network, and its policy says so to the browser.
"""

import base64
import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from pathlib import Path
from urllib.parse import quote

import cv2

from callbacks.drawing import class_color
from experiments.inference.inputs import InputImage
from experiments.inference.outlines import TOLERANCES_PX, trace_rings
from experiments.inference.result_files import OVERLAYS_FOLDER, AddResult
from experiments.predictor import NamedInstance, Result

THUMBNAIL_PX = 256
# A browser holds a page of this many thumbnails of about 10 kB with ease.
MAX_THUMBNAILS = 3000
UNIT_RANGE = "type='number' min='0' max='1' step='0.05'"
STYLE = """
:root { color-scheme: light dark; --line: #8886; --soft: #8882 }
body { font: 15px/1.45 system-ui, sans-serif; margin: 1rem 1.5rem }
form { position: sticky; top: 0; z-index: 1; padding: .6rem 0; background: Canvas;
  border-bottom: 1px solid var(--line); display: flex; flex-wrap: wrap; gap: .5rem 1rem }
input[type=number] { width: 4.5rem } label { white-space: nowrap }
main { display: flex; flex-wrap: wrap; gap: .8rem; margin: 1rem 0 }
figure { margin: 0; padding: .5rem; width: 256px; border: 1px solid var(--line);
  content-visibility: auto; contain-intrinsic-size: 256px 320px }
figure[hidden] { display: none } figure.review { outline: 2px dashed orange }
.picture { display: block; position: relative } .picture img { display: block; width: 100% }
svg { position: absolute; inset: 0; width: 100%; height: 100% }
path { fill: var(--color); fill-opacity: .18; fill-rule: evenodd; stroke: var(--color);
  stroke-width: 2; vector-effect: non-scaling-stroke }
.plain svg { display: none } figcaption { font-size: 13px; overflow-wrap: anywhere }
ul { margin: .2rem 0 0; padding: 0; list-style: none; max-height: 8rem; overflow: auto }
li::before { content: "\\25A0  "; color: var(--color) }
"""
SCRIPT = """
const form = document.querySelector('form'), cards = [...document.querySelectorAll('figure')];
function filter() {
  const wanted = name => form.elements[name].value;
  let shown = 0;
  for (const card of cards) {
    const said = card.dataset, score = Number(said.score);
    const fits = (!wanted('answer') || said.answer === wanted('answer'))
      && (!wanted('type') || said.types.split(' ').includes(wanted('type')))
      && score >= Number(wanted('low') || 0) && score <= Number(wanted('high') || 1)
      && (!form.elements.review.checked || said.review === '1')
      && said.image.toLowerCase().includes(wanted('text').toLowerCase());
    card.hidden = !fits;
    shown += fits ? 1 : 0;
  }
  document.querySelector('output').textContent = `${shown} of ${cards.length} images`;
  document.querySelector('main').classList.toggle('plain', !form.elements.outlines.checked);
}
form.addEventListener('input', filter);
form.addEventListener('submit', event => event.preventDefault());
filter();
"""


@contextmanager
def report_page(path: Path, names: Sequence[str]) -> Iterator[AddResult]:
    """The page's head, a card for each result as it comes, and the script that filters.

    names: by class id. Beyond MAX_THUMBNAILS cards are without image and link to the overlay.
    """
    with path.open("w", encoding="utf-8") as file:
        file.write(_head(names))
        card_count = 0

        def add(image: InputImage, result: Result) -> None:
            nonlocal card_count
            card_count += 1
            is_shown = card_count <= MAX_THUMBNAILS
            file.write(
                _card(image, result, _thumbnail(result) if is_shown else "look at the image")
            )

        yield add
        left_out = max(0, card_count - MAX_THUMBNAILS)
        note = f"{left_out} images are without thumbnail: click for theirs." if left_out else ""
        file.write(f"</main><p>{note}</p><script>{SCRIPT}</script></body></html>\n")


def _head(names: Sequence[str]) -> str:
    """All before the first card."""
    script_hash = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    policy = (
        "default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
        f"script-src 'sha256-{script_hash}'"
    )
    colors = "".join(
        f".k{class_id} {{ --color: rgb{class_color(class_id)} }}\n"
        for class_id in range(1, len(names))
    )
    options = [f"<option value='{k}'>{escape(name)}</option>" for k, name in enumerate(names)]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width'>"
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        f"<title>What is in the images</title><style>{STYLE}{colors}</style></head><body>"
        "<h1>What is in the images</h1><form>"
        "<label>answer <select name='answer'><option value=''>any</option>"
        f"{''.join(options)}</select></label>"
        "<label>shows <select name='type'><option value=''>anything</option>"
        f"{''.join(options[1:])}</select></label>"
        f"<label>score <input name='low' value='0' {UNIT_RANGE}></label>"
        f"<label>to <input name='high' value='1' {UNIT_RANGE}></label>"
        "<label>image <input name='text' type='search'></label>"
        "<label><input name='review' type='checkbox'> needs review</label>"
        "<label><input name='outlines' type='checkbox' checked> outlines</label>"
        "<output></output></form><main>\n"
    )


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
        f"<a class='picture' href='{OVERLAYS_FOLDER}/{quote(image.name)}.png'>{thumbnail}</a>"
        f"<figcaption>{file_name}<br><b>{escape(result.name)}</b> {result.image_score:.2f}{review}"
        f"<ul>{lines}</ul></figcaption></figure>\n"
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
    """An instance's rings as one SVG path, with its name where the mouse rests."""
    rings = trace_rings(instance.mask, tolerance_px=tolerance_px)
    way = "".join("M" + " ".join(f"{x},{y}" for x, y in ring.tolist()) + "Z" for ring in rings)
    words = f"{escape(instance.name)} {instance.score:.2f}"
    return f"<path class='k{instance.class_id}' d='{way}'><title>{words}</title></path>"
