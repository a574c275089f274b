"""Holds that what a hand paints becomes the region, and what it leaves keeps every pixel."""

import base64
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.serving.canvas import PNG_ADDRESS, Canvas, painted
from experiments.serving.regions import fitted
from tests.experiments.serving.small_desk import SIZE_PX, bright_mask, dropped, small_desk


def address_of(alpha: np.ndarray) -> str:
    """Paint as a browser sends it, alpha (h, w) bool."""
    pixels = np.zeros((*alpha.shape, 4), dtype=np.uint8)
    pixels[alpha] = (230, 57, 70, 255)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return PNG_ADDRESS + base64.b64encode(file.getvalue()).decode()


def test_untouched_canvas_gives_the_region_back_and_paint_is_added(tmp_path: Path) -> None:
    with small_desk(tmp_path / "out") as desk:
        canvas = Canvas(dropped(desk, tmp_path), 0)
        html = canvas.html()
    shown = re.findall(r"data-paint='([^']+)'", html)[0]
    before = painted(shown)
    assert before.shape == (320, 480)
    assert np.array_equal(canvas.mask(shown, is_box=False), bright_mask())
    before[240:320, :80] = True
    expected = bright_mask()
    expected[30:, :10] = True
    assert np.array_equal(canvas.mask(address_of(before), is_box=False), expected)
    box = canvas.mask(address_of(before), is_box=True)
    assert box[10:, :40].all() and box.sum() == 30 * 40


def test_coarse_canvas_of_a_large_image_keeps_what_nobody_touched(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    speckled = rng.random(SIZE_PX) < 0.5
    with small_desk(tmp_path / "out") as desk:
        draft = dropped(desk, tmp_path).redrawn(0, speckled, "dust")
        canvas = Canvas(draft, 0)
    small = fitted(speckled, (10, 15))
    small[0, :] = False
    mask = canvas.mask(address_of(small), is_box=False)
    assert np.array_equal(mask[4:], speckled[4:])
    assert mask[:4].sum() < speckled[:4].sum()


@pytest.mark.parametrize(
    "address",
    [
        "",
        "http://x/y.png",
        PNG_ADDRESS + "%%%",
        PNG_ADDRESS + "aGk=",
        PNG_ADDRESS + "A" * 9_000_000,
    ],
)
def test_what_no_canvas_sends_is_one_line(address: str) -> None:
    with pytest.raises(ValueError, match="expected a drawing of up to 800 px"):
        painted(address)


def test_small_file_of_a_huge_drawing_is_not_unpacked_and_an_empty_one_is_refused(
    tmp_path: Path,
) -> None:
    with pytest.raises(ValueError, match="of another kind"):
        painted(address_of(np.zeros((2, 4000), dtype=bool)))
    with small_desk(tmp_path / "out") as desk:
        canvas = Canvas(dropped(desk, tmp_path), None)
        with pytest.raises(ValueError, match="nothing is painted"):
            canvas.mask(address_of(np.zeros((8, 8), dtype=bool)), is_box=False)
