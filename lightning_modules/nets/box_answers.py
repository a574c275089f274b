"""Boxes in what a vision-language model says: read from its words and brought to pixels.

It says them in Qwen-VL's tags (<ref>, <box>), in Qwen2-VL's special tokens, or as JSON objects of a
`bbox_2d` and a `label`, as Qwen2.5-VL and Qwen3-VL do. In which units the corners are is no part of
an answer: the model's family decides (`vision_language_model.py`). What becomes of boxes is in
`box_prediction.py`.
"""

import json
import math
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

BOX_KEY, LABEL_KEY = "bbox_2d", "label"
TAGS = re.compile(
    r"(?:<ref>|<\|object_ref_start\|>)(?P<label>.*?)(?:</ref>|<\|object_ref_end\|>)"
    r"|(?:<box>|<\|box_start\|>)(?P<box>.*?)(?:</box>|<\|box_end\|>)",
    re.DOTALL,
)
NUMBER = re.compile(r"(?<![\w.])-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
NOTHING = re.compile(r"\[\s*\]")
COMMA_AT_THE_END = re.compile(r",(?=\s*[\]}])")
OTHER_QUOTES = str.maketrans(dict.fromkeys("'\u2018\u2019\u201c\u201d", '"'))

Corners = tuple[float, float, float, float]
PixelBox = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class SpokenBox:
    """A box as it was said: corners (x, y, x, y) in the model's units, in either order."""

    label: str
    corners: Corners


def read_boxes(answer: str) -> list[SpokenBox] | None:
    """The whole boxes in an answer, none for one that holds an empty list, None where unreadable.

    Prose around them, an end that is cut off and full-width signs do no harm; what is left of a
    box whose numbers are not four is left aside. Words alone ("no defect") are unreadable.
    """
    text = unicodedata.normalize("NFKC", answer).replace("\u3001", ",")
    found = [*tagged_boxes(text)] or [*json_boxes(text)]
    says_nothing = NOTHING.search(text) and BOX_KEY not in text
    return found if found or says_nothing else None


def tagged_boxes(text: str) -> Iterator[SpokenBox]:
    """The boxes in tags or special tokens; each has the label before it."""
    label = ""
    for tag in TAGS.finditer(text):
        if tag["box"] is None:
            label = tag["label"].strip()
        else:
            yield from (SpokenBox(label, corners) for corners in fours(tag["box"]))


def json_boxes(text: str) -> Iterator[SpokenBox]:
    """The boxes of JSON objects, in whatever lists, objects or words these stand."""
    plain = COMMA_AT_THE_END.sub("", text)
    for one in objects_in(plain if '"' in plain else plain.translate(OTHER_QUOTES)):
        box, label = one.get(BOX_KEY), one.get(LABEL_KEY)
        if isinstance(box, list | str):
            name = label if isinstance(label, str) else ""
            yield from (SpokenBox(name, corners) for corners in fours(json.dumps(box)))


def objects_in(text: str) -> Iterator[dict[str, object]]:
    """The whole JSON objects in a text, outer ones before those in them."""
    decoder = json.JSONDecoder(strict=False)
    at = text.find("{")
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):  # cut off, or no JSON: perhaps one inside is whole
            value, end = None, at + 1
        waiting = [value]
        while waiting:
            one = waiting.pop()
            if isinstance(one, dict):
                yield one
                waiting += reversed(one.values())
            elif isinstance(one, list):
                waiting += reversed(one)
        at = text.find("{", end)


def fours(text: str) -> list[Corners]:
    """The numbers in a text as boxes, none where they don't come in fours."""
    numbers = [float(one) for one in NUMBER.findall(text)]
    if len(numbers) % 4:
        return []
    return list(zip(*(iter(numbers),) * 4, strict=True))


def to_pixels(
    corners: Corners, *, units_wh: tuple[float, float], size_px: tuple[int, int]
) -> PixelBox | None:
    """The pixels (left, top, right, bottom) whose centres a box holds, ends outside, or None.

    units_wh: what the image's whole width and height are in the units of the corners; size_px:
    the image's height and width, at which the box is cut.
    """
    (width_units, height_units), (height, width) = units_wh, size_px
    xs = [corner * width / width_units for corner in corners[::2]]
    ys = [corner * height / height_units for corner in corners[1::2]]
    left, right = sorted(math.ceil(min(max(x, 0), width) - 0.5) for x in xs)
    top, bottom = sorted(math.ceil(min(max(y, 0), height) - 0.5) for y in ys)
    return (left, top, right, bottom) if left < right and top < bottom else None
