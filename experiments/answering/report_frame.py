"""The report's frame: style, filters, and the one script that may run in it.

The page needs nothing beside it and no network, and its policy says so to the browser.
"""

import base64
import hashlib
from collections.abc import Sequence
from html import escape

from callbacks.drawing import class_color

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


def page_head(names: Sequence[str]) -> str:
    """All before the first card; names by class id."""
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


def page_end(note: str) -> str:
    """All after the last card; note: plain words below the cards."""
    return f"</main><p>{escape(note)}</p><script>{SCRIPT}</script></body></html>\n"
