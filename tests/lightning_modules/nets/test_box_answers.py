"""Holds what is read out of answers in words, and that boxes become exactly their pixels."""

import json

import numpy as np
import pytest

from lightning_modules.nets.box_answers import (
    Corners,
    SpokenBox,
    read_boxes,
    to_pixels,
)

ONE = [("crack", (10, 20, 30, 40))]
TWO = [*ONE, ("stain", (1, 2, 3, 4))]
JSON_ONE = '{"bbox_2d": [10, 20, 30, 40], "label": "crack"}'
JSON_TWO = f'[{JSON_ONE}, {{"bbox_2d": [1, 2, 3, 4], "label": "stain"}}]'
QWEN_ONE = (
    "<|object_ref_start|>crack<|object_ref_end|><|box_start|>(10,20),(30,40)<|box_end|><|im_end|>"
)
ANSWERS = {
    "Qwen-VL": ("<ref>crack</ref><box>(10,20),(30,40)</box>", ONE),
    "Qwen-VL, two of one name": (
        "<ref>crack</ref><box>(10,20),(30,40)</box><box>(1,2),(3,4)</box>",
        [*ONE, ("crack", (1, 2, 3, 4))],
    ),
    "Qwen-VL, no name": ("<box>(10,20),(30,40)</box>", [("", ONE[0][1])]),
    "Qwen2-VL": (QWEN_ONE, ONE),
    "Qwen2-VL, cut off": (f"{QWEN_ONE}<|object_ref_start|>stain<|object_ref_end|><|box_st", ONE),
    "JSON": (JSON_TWO, TWO),
    "JSON in a fence": (f"```json\n{JSON_TWO}\n```<|im_end|>", TWO),
    "JSON with prose around": (f"There are {{two}} defects: {JSON_TWO} I am [sure].", TWO),
    "JSON, one object without a list": (JSON_ONE, ONE),
    "JSON, one object per line": (JSON_TWO[1:-1].replace("}, ", "}\n"), TWO),
    "JSON, a list in a list": (f"[[{JSON_ONE}]]", ONE),
    "JSON, under a key": (f'{{"defects": {JSON_TWO}}}', TWO),
    "JSON, under a key, cut off": (f'{{"defects": {JSON_TWO[:-20]}', ONE),
    "JSON, cut off in a label": (JSON_TWO[:-5], ONE),
    "JSON, cut off in numbers": (JSON_TWO[: JSON_TWO.index("3, 4")], ONE),
    "JSON, cut off before a box": (JSON_TWO[:20], None),
    "a nested box": ('[{"bbox_2d": [[10, 20], [30, 40]], "label": "crack"}]', ONE),
    "several boxes of one label": (
        '{"bbox_2d": [[10, 20, 30, 40], [1, 2, 3, 4]], "label": "crack"}',
        [*ONE, ("crack", (1, 2, 3, 4))],
    ),
    "Chinese signs": ("［{“bbox_2d”：［10，20、30，40］，“label”：“crack”}］", ONE),
    "Chinese commas in tags": ("<ref>crack</ref><box>（10，20），（30，40）</box>", ONE),
    "a Chinese label": (JSON_ONE.replace("crack", "裂纹"), [("裂纹", ONE[0][1])]),
    "swapped corners stay as said": (
        '{"bbox_2d": [30, 40, 10, 20], "label": "crack"}',
        [("crack", (30, 40, 10, 20))],
    ),
    "out of range stays as said": (
        '{"bbox_2d": [-5, 20, 3e4, 40], "label": "crack"}',
        [("crack", (-5, 20, 30000, 40))],
    ),
    "floats": (
        '{"bbox_2d": [10.5, 20.25, 30.0, 40], "label": "crack"}',
        [("crack", (10.5, 20.25, 30, 40))],
    ),
    "strings as numbers": ('{"bbox_2d": ["10", "20", "30", "40"], "label": "crack"}', ONE),
    "a string as the box": ('{"bbox_2d": "[10, 20, 30, 40]", "label": "crack"}', ONE),
    "single quotes": (JSON_TWO.replace('"', "'"), TWO),
    "commas at ends": ('[{"bbox_2d": [10, 20, 30, 40,], "label": "crack",},]', ONE),
    "the last of two same keys": (
        '{"bbox_2d": [1, 2, 3, 4], "bbox_2d": [10, 20, 30, 40], "label": "crack"}',
        ONE,
    ),
    "braces in a label": (JSON_ONE.replace("crack", "cr}a{ck"), [("cr}a{ck", ONE[0][1])]),
    "a line's end in a label": (JSON_ONE.replace("crack", "cr\nack"), [("cr\nack", ONE[0][1])]),
    "no label": ('{"bbox_2d": [10, 20, 30, 40]}', [("", ONE[0][1])]),
    "a number for a label": ('{"bbox_2d": [10, 20, 30, 40], "label": 3}', [("", ONE[0][1])]),
    "three numbers beside four": (f'[{{"bbox_2d": [1, 2, 3], "label": "x"}}, {JSON_ONE}]', ONE),
    "three numbers": ('[{"bbox_2d": [1, 2, 3], "label": "crack"}]', None),
    "no numbers": ('[{"bbox_2d": [], "label": "crack"}]', None),
    "null": ('[{"bbox_2d": null, "label": "none"}]', None),
    "words for numbers": ('{"bbox_2d": ["x1", "y1", "x2", "y2"], "label": "crack"}', None),
    "named corners": ('{"bbox_2d": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}', None),
    "not a number": ('{"bbox_2d": [NaN, 20, 30, 40], "label": "crack"}', None),
    "an empty list": ("[]", []),
    "an empty list in a fence": ("```json\n[ ]\n```<|im_end|>", []),
    "an empty list after words": ("There is no visible defect: []", []),
    "words alone": ("There is no defect.", None),
    "nothing": ("", None),
    "depth": ('{"bbox_2d": ' + "[" * 5000, None),
    "braces": ("{" * 2000, None),
    "many digits": ('{"bbox_2d": [1, 2, 3, ' + "9" * 5000 + '], "label": "crack"}', None),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answer_is_read_as_the_boxes_that_are_whole_in_it(name: str) -> None:
    answer, expected = ANSWERS[name]
    found = read_boxes(answer)
    assert found == (None if expected is None else [SpokenBox(*one) for one in expected])


@pytest.mark.parametrize("length", range(len(JSON_TWO)))
def test_answer_cut_anywhere_gives_what_was_said_whole(length: int) -> None:
    whole = TWO[: JSON_TWO[:length].count("}")]
    assert read_boxes(JSON_TWO[:length]) == ([SpokenBox(*one) for one in whole] or None)


SIZE_PX = (37, 53)


def test_box_holds_the_pixels_whose_centres_are_in_it() -> None:
    generator = np.random.default_rng(0)
    ys, xs = np.mgrid[: SIZE_PX[0], : SIZE_PX[1]] + 0.5
    for corners in generator.uniform(-200, 1200, (200, 4)).tolist():
        x0, y0, x1, y1 = np.array(corners) * [53, 37, 53, 37] / 1000
        inside = (xs >= min(x0, x1)) & (xs < max(x0, x1)) & (ys >= min(y0, y1)) & (ys < max(y0, y1))
        drawn = np.zeros(SIZE_PX, dtype=bool)
        if box := to_pixels(tuple(corners), units_wh=(1000, 1000), size_px=SIZE_PX):
            left, top, right, bottom = box
            drawn[top:bottom, left:right] = True
        assert (drawn == inside).all() and (box is None) == (not inside.any())


@pytest.mark.parametrize(
    ("corners", "expected"),
    [
        ((0, 0, 1000, 1000), (0, 0, 53, 37)),
        ((1000, 1000, 0, 0), (0, 0, 53, 37)),
        ((-1e308, -5, 1e308, float("inf")), (0, 0, 53, 37)),
        ((500, 500, 500, 900), None),
        ((1200, 10, 1300, 900), None),
        ((104, 100, 120, 900), None),
    ],
)
def test_box_is_cut_at_the_image_and_dropped_without_a_pixel(
    corners: Corners, expected: object
) -> None:
    assert to_pixels(corners, units_wh=(1000, 1000), size_px=SIZE_PX) == expected


def test_pixels_of_the_resized_image_are_scaled_back() -> None:
    box = to_pixels((56, 28, 112, 56), units_wh=(112, 56), size_px=(100, 400))
    assert box == (200, 50, 400, 100)


def test_what_json_writes_is_read() -> None:
    said = [{"bbox_2d": list(corners), "label": label} for label, corners in TWO]
    for text in (json.dumps(said, indent=4), json.dumps(said, separators=(",", ":"))):
        assert read_boxes(text) == [SpokenBox(*one) for one in TWO]
