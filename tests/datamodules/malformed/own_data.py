"""Bad files of the general formats: COCO, YOLO, labelme; tables are `own_tables.py`."""

import base64
from collections.abc import Iterator

from tests.datamodules.malformed.damage import (
    Case,
    Damage,
    cut,
    edit,
    link,
    png_chunk,
    png_of,
    put,
)

COCO = "annotations/instances_train.json"
LABELME = "train/a b.json"
DIGITS = "text_files.py: json's ValueError on too many digits names no file"
CLASS_NAMES = "yolo_labels.py: whatever YAML gives as a name is made text: None, False, a list"
MASK_ADDRESS = "labelme_json.py: the reason holds a memory address"


def coco() -> Iterator[Case]:
    """COCO's JSON, one value of it bad."""
    box = '"bbox": [5, 10, 15.5, 10]'
    square = "[5, 10, 20, 10, 20, 20, 5, 20]"
    changes: dict[str, Damage] = {
        "cut": cut(COCO, 0.7),
        "empty": put(COCO, b""),
        "a list": put(COCO, b"[]"),
        "nested deeply": put(COCO, b"[" * 100_000),
        "not in UTF-8": put(COCO, b'{"images": "\xff"}'),
        "without images": edit(COCO, '"images"', '"pictures"'),
        "without categories": edit(COCO, '"categories"', '"classes"'),
        "with a NaN box": edit(COCO, box, '"bbox": [NaN, 10, 15, 10]'),
        "with an infinite box": edit(COCO, box, '"bbox": [5, 10, Infinity, 10]'),
        "with a negative box": edit(COCO, box, '"bbox": [5, 10, -15, 10]'),
        "with a box of no size": edit(COCO, box, '"bbox": [5, 10, 0, 0]'),
        "with a box outside": edit(COCO, box, '"bbox": [500, 10, 15, 10]'),
        "with a box of three": edit(COCO, box, '"bbox": [5, 10, 15]'),
        "with a box of words": edit(COCO, box, '"bbox": ["a", "b", "c", "d"]'),
        "with a box of null": edit(COCO, box, '"bbox": [null, 1, 2, 3]'),
        "with an odd polygon": edit(COCO, square, "[5, 10, 20, 10, 20, 20, 5]"),
        "with two corners": edit(COCO, square, "[5, 10, 20, 10]"),
        "with a NaN corner": edit(COCO, square, "[5, 10, NaN, 10, 20, 20, 5, 20]"),
        "with a corner outside": edit(COCO, square, "[5, 10, 2000, 10, 20, 20, 5, 20]"),
        "with too few counts": edit(COCO, "[410, 10, 1580]", "[410, 10, 80]"),
        "with too many counts": edit(COCO, "[410, 10, 1580]", "[410, 10, 15800]"),
        "with negative counts": edit(COCO, "[410, 10, 1580]", "[410, -10, 1600]"),
        "with counts of words": edit(COCO, "[410, 10, 1580]", '["a"]'),
        "with a broken string of counts": edit(COCO, '"j<:\\\\a1"', '"~~~~"'),
        "with counts of another size": edit(COCO, '"size": [40, 50]', '"size": [400, 500]'),
        "with an unknown category": edit(COCO, '"category_id": 9', '"category_id": 77'),
        "with an unknown picture": edit(COCO, '"image_id": 3', '"image_id": 33'),
        "with a category of no name": edit(COCO, '"name": "Pin-Hole"', '"name": ""'),
        "with a path that leads out": edit(COCO, '"c.bmp"', '"../../../outside.png"'),
        "with an absolute path": edit(COCO, '"c.bmp"', '"/etc/passwd"'),
        "with a picture that is not there": edit(COCO, '"c.bmp"', '"zzz.bmp"'),
        "with another size": edit(COCO, '"width": 50', '"width": 5'),
        "with an annotation twice": edit(COCO, '"id": 3, "image_id"', '"id": 2, "image_id"'),
        "with annotations of null": edit(COCO, '"annotations": [', '"annotations": null, "x": ['),
        "with an annotation of text": edit(COCO, '"annotations": [', '"annotations": ["a", '),
        "with categories of another kind": edit(COCO, '"categories": [', '"categories": 7, "x": ['),
        "with a category twice": edit(COCO, '"id": 9, "name": "crack"', '"id": 3, "name": "crack"'),
        "with counts in text": edit(COCO, "[410, 10, 1580]", '"410"'),
        "with half counts": edit(COCO, "[410, 10, 1580]", "[410.5, 10, 1579.5]"),
        "with NaN counts": edit(COCO, "[410, 10, 1580]", "[410, NaN, 1580]"),
        "without counts": edit(COCO, '"counts": [410', '"x": [410'),
        "with counts of a negative size": edit(COCO, "[40, 50], ", "[-40, -50], "),
        "with counts of a huge size": edit(COCO, "[40, 50], ", "[1e12, 1e12], "),
        "with counts of a NaN size": edit(COCO, "[40, 50], ", "[NaN, 50], "),
        "with half a character for counts": edit(COCO, "j<:\\\\a1", "\\ud800"),
        "with a number too long to hold": edit(COCO, "15.5", "9" * 400),
    }
    for name, damage in changes.items():
        yield Case(f"COCO {name}", "coco", damage)
    bell = edit(COCO, "Pin-Hole", "Pin\\u0007")
    yield Case("COCO with a bell in a type", "coco", bell, costs=2)
    twice = edit(COCO, '"id": 2', '"id": 1')
    yield Case("COCO with a picture's id twice", "coco", twice, costs=2)
    digits = edit(COCO, '"width": 50', f'"width": {"9" * 5000}')
    yield Case("COCO with 5000 digits", "coco", digits, fault=DIGITS)


def yolo() -> Iterator[Case]:
    """YOLO's text labels and data.yaml, one of them bad."""
    label = "labels/train/a b.txt"
    for name, line in {
        "five numbers and a half": "0 0.25 0.375 0.3 0.25 0.5",
        "three numbers": "0 0.25 0.375",
        "NaN": "0 nan 0.375 0.3 0.25",
        "infinity": "0 0.25 inf 0.3 0.25",
        "pixels": "0 25 37 30 25",
        "a negative width": "0 0.25 0.375 -0.3 0.25",
        "no width": "0 0.25 0.375 0 0.25",
        "class 9": "9 0.25 0.375 0.3 0.25",
        "class -1": "-1 0.25 0.375 0.3 0.25",
        "class in words": "crack 0.25 0.375 0.3 0.25",
        "half a class": "0.5 0.25 0.375 0.3 0.25",
        "class NaN": "nan 0.25 0.375 0.3 0.25",
        "class alone": "0",
        "commas": "0,0.25,0.375,0.3,0.25",
        "NUL": "0 0.25\0 0.375 0.3 0.25",
        "a box outside": "0 0.99 0.5 0.5 0.5",
        "letters": "0 a b c d",
        "an odd polygon": "1 0.1 0.25 0.3 0.25 0.3 0.4 0.1",
    }.items():
        yield Case(f"YOLO label with {name}", "yolo", put(label, line.encode()))
    yield Case("YOLO label that is a link", "yolo", link(label, "../../../outside.png"))
    yield Case("YOLO picture that is cut", "yolo", cut("images/train/a b.JPG", 0.3))
    digits = put(label, b"9" * 5000 + b" 0.1 0.1 0.1 0.1")
    long_line = "yolo_labels.py: a class number of any length is repeated whole"
    yield Case("YOLO label with 5000 digits", "yolo", digits, fault=long_line)
    yield Case("YOLO label not in UTF-8", "yolo", put(label, b"\xff\xfe\x00"))
    for name, text in {
        "that builds objects": b"names: !!python/object/apply:os.system ['true']\n",
        "without names": b"train: images/train\n",
        "with names of numbers": b"train: images/train\nnames: 7\n",
        "with an empty name": b"train: images/train\nnames: [a, '']\n",
        "of a list": b"- a\n- b\n",
        "that is no YAML": b"names: [a\n",
        "that leads out": b"train: ../../../../etc\nnames: [a, b]\n",
        "of no bytes": b"",
        "with half a class": b"train: images/train\nnames: {0.5: a, 1: b}\n",
        "with class -1": b"train: images/train\nnames: {-1: a}\n",
        "with NUL": b"names: [a\0b, c]\n",
        "in UTF-16": "names: [a, b]\n".encode("utf-16"),
        "with tabs": b"names:\n\t- a\n",
        "nested deeply": b"names: " + b"[" * 3000,
        "with a split of numbers": b"train: 7\nnames: [a, b]\n",
        "with an absolute path": b"train: /etc\nnames: [a, b]\n",
        "that unfolds without end in train": unfolding("train") + b"names: [a, b]\n",
    }.items():
        yield Case(f"data.yaml {name}", "yolo", put("data.yaml", text))
    for name, names in {
        "null": b"names: [a, ~]\n",
        "yes and no": b"names: [no, yes]\n",
        "lists": b"names: [[a], [b]]\n",
        "itself": b"names: &a [*a, b]\n",
        "lists without end": unfolding("names"),
    }.items():
        text = b"train: images/train\n" + names
        damage = put("data.yaml", text)
        yield Case(f"data.yaml with names of {name}", "yolo", damage, fault=CLASS_NAMES)


def unfolding(key: str) -> bytes:
    """YAML whose few lines stand for a million words under a key."""
    levels = [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 6)]
    return "\n".join(["a0: &a0 [x]", *levels, f"{key}: *a5", ""]).encode()


def labelme() -> Iterator[Case]:
    """Labelme's JSON, one value of it bad."""
    corner = "[[5, 10], [20, 10], [20, 20], [5, 20]]"
    changes: dict[str, Damage] = {
        "cut": cut(LABELME, 0.5),
        "empty": put(LABELME, b""),
        "a list": put(LABELME, b"[]"),
        "nested deeply": put(LABELME, b"[" * 100_000),
        "without shapes": edit(LABELME, '"shapes"', '"forms"'),
        "with an unknown shape": edit(LABELME, '"polygon"', '"spiral"'),
        "with a line": edit(LABELME, '"polygon"', '"line"'),
        "with one corner": edit(LABELME, corner, "[[5, 10]]"),
        "with a NaN corner": edit(LABELME, corner, "[[NaN, 1], [2, 3], [4, 5]]"),
        "with a corner outside": edit(LABELME, corner, "[[5, 10], [2000, 10], [20, 20]]"),
        "with corners of words": edit(LABELME, corner, '[["a", "b"], [1, 2], [3, 4]]'),
        "with corners of three": edit(LABELME, corner, "[[1, 2, 3], [4, 5, 6], [7, 8, 9]]"),
        "with an empty label": edit(LABELME, '"Pin-Hole"', '""'),
        "with a label of null": edit(LABELME, '"Pin-Hole"', "null"),
        "of another width": edit(LABELME, '"imageWidth": 50', '"imageWidth": 5'),
        "of a turned size": edit(LABELME, '"imageHeight": 40', '"imageHeight": 50'),
        "with a path that leads out": edit(LABELME, '"a b.JPG"', '"../../../a b.JPG"'),
        "with a path to another picture": edit(LABELME, '"a b.JPG"', '"c.png"'),
        "with a bell in a label": edit(LABELME, "Pin-Hole", "Pin\\u0007"),
        "with points of null": edit(LABELME, corner, "null"),
        "with no points": edit(LABELME, corner, "[]"),
        "with a point of true": edit(LABELME, "[5, 10]", "[true, 10]"),
        "with an infinite point": edit(LABELME, "[5, 10]", "[5, 1e999]"),
        "with a point of 400 digits": edit(LABELME, "[5, 10]", f"[5, {'9' * 400}]"),
        "with a list for a kind": edit(LABELME, '"polygon"', '["polygon"]'),
        "with shapes of null": edit(LABELME, '"shapes": [', '"shapes": null, "x": ['),
        "with a shape of text": edit(LABELME, '"shapes": [', '"shapes": ["a", '),
        "of a negative width": edit(LABELME, '"imageWidth": 50', '"imageWidth": -50'),
        "of a huge width": edit(LABELME, '"imageWidth": 50', '"imageWidth": 99999999999'),
        "that is a link": link(LABELME, "../../outside.png"),
    }
    for name, damage in changes.items():
        yield Case(f"labelme JSON {name}", "labelme", damage)
    yield from labelme_shapes()


def labelme_shapes() -> Iterator[Case]:
    """A circle and a mask of labelme, one of them bad."""
    file = "train/c.json"
    bomb = base64.b64encode(png_of(100_000, 100_000, png_chunk(b"IEND", b""))).decode()
    shapes: dict[str, Damage] = {
        "circle of no radius": edit(file, "[30, 20]", "[25, 20]"),
        "circle far outside": edit(file, "[30, 20]", "[900, 20]"),
        "mask of other letters": edit(file, '"mask": "', '"mask": "!!!'),
        "mask that is a bomb": edit(file, '"mask": "', f'"mask": "{bomb}", "x": "'),
        "mask that leaves its picture": edit(file, "[[6, 7], [9, 9]]", "[[49, 39], [52, 41]]"),
    }
    for name, damage in shapes.items():
        yield Case(f"labelme {name}", "labelme", damage)
    cut_mask = edit(file, '"mask": "iVBORw0K', '"mask": "')
    yield Case("labelme mask that is cut", "labelme", cut_mask, fault=MASK_ADDRESS)
