"""What a person paints on: the image at a size that a hand can work at, and the paint as a mask.

The brush itself is in the browser (`page.js`); what it painted comes back as a PNG.
"""

import base64
import binascii
from dataclasses import dataclass

import cv2
import numpy as np

from callbacks.drawing import resize_image
from datamodules.decode import open_image
from experiments.serving.desk import Draft
from experiments.serving.regions import box_around, fitted, redrawn

COLOR = (230, 57, 70)
# The longer side of a canvas: smaller images are enlarged, larger ones reduced.
LEAST_PX, MOST_PX = 480, 800
PNG_ADDRESS = "data:image/png;base64,"
LONGEST_ADDRESS = 8_000_000


@dataclass(frozen=True, slots=True)
class Canvas:
    """A canvas on which one region of an image is drawn anew, or a new one where place is None."""

    draft: Draft
    place: int | None

    def html(self) -> str:
        """The easel: brush, eraser, size, undo, and the image below the paint."""
        pixels = open_image(self.draft.entry.path)
        longer = max(pixels.shape[:2])
        image = resize_image(pixels, float(np.clip(longer, LEAST_PX, MOST_PX)) / longer)
        height, width = image.shape[:2]
        paint = np.zeros((height, width, 4), dtype=np.uint8)
        paint[fitted(self._before, (height, width))] = (*COLOR, 255)
        return (
            f"<div id='easel' data-paint='{_address(paint)}' data-color='rgb{COLOR}'>"
            "<div class='tools'>"
            "<label><input type='radio' name='tool' value='brush' checked> brush</label>"
            "<label><input type='radio' name='tool' value='erase'> eraser</label>"
            "<label>size <input type='range' min='1' max='80' value='16'></label>"
            "<button type='button'>undo</button></div>"
            f"<div class='stack' style='aspect-ratio: {width} / {height}'>"
            f"<img alt='' src='{_address(image)}'>"
            f"<canvas id='paint' width='{width}' height='{height}'></canvas></div></div>"
        )

    def mask(self, address: str, *, is_box: bool) -> np.ndarray:
        """The region (H, W) bool that the paint means; address: a PNG with it, as data.

        is_box: the box around it. ValueError where nothing is painted, or for no such PNG.
        """
        after = painted(address)
        if not after.any():
            raise ValueError("nothing is painted: paint the region with the brush, or cancel")
        shown = fitted(self._before, (after.shape[0], after.shape[1]))
        mask = redrawn(self._before, shown, after)
        return box_around(mask) if is_box else mask

    @property
    def _before(self) -> np.ndarray:
        size_px = self.draft.entry.size_px
        if self.place is None:
            return np.zeros(size_px, dtype=bool)
        return self.draft.region(self.place).mask(size_px)


def painted(address: str) -> np.ndarray:
    """What is painted on a canvas, (h, w) bool; ValueError for what no canvas sends."""
    expected = f"expected a drawing of up to {MOST_PX} px: open the canvas again"
    if not address.startswith(PNG_ADDRESS) or len(address) > LONGEST_ADDRESS:
        raise ValueError(f"got {address[:24]!r} from the canvas, {expected}")
    try:
        data = base64.b64decode(address.removeprefix(PNG_ADDRESS), validate=True)
        # Its header first: a small file may unpack to a large one.
        sides = [int.from_bytes(data[start : start + 4], "big") for start in (16, 20)]
        pixels = cv2.imdecode(np.frombuffer(data, np.uint8), -1) if max(sides) <= MOST_PX else None
    except (binascii.Error, cv2.error) as error:
        raise ValueError(f"got a drawing that is no image, {expected}") from error
    if pixels is None or pixels.ndim != 3 or pixels.shape[2] != 4:
        raise ValueError(f"got a drawing of another kind, {expected}")
    return pixels[..., 3] > 127


def _address(pixels: np.ndarray) -> str:
    """Pixels (h, w, 3) or (h, w, 4) uint8, red first, as a PNG in an address."""
    order = cv2.COLOR_RGB2BGR if pixels.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    data = cv2.imencode(".png", cv2.cvtColor(pixels, order))[1].tobytes()
    return PNG_ADDRESS + base64.b64encode(data).decode()
