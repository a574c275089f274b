"""Bad files of the general formats: COCO, YOLO, labelme, tables, the release's captions."""

from collections.abc import Iterator

from tests.datamodules.malformed.damage import Case, Damage, cut, edit, put

COCO = "annotations/instances_train.json"
LABELME = "train/a b.json"


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
        "with a path that leads out": edit(COCO, '"c.bmp"', '"../../../c.bmp"'),
        "with an absolute path": edit(COCO, '"c.bmp"', '"/etc/passwd"'),
        "with a picture that is not there": edit(COCO, '"c.bmp"', '"zzz.bmp"'),
        "with another size": edit(COCO, '"width": 50', '"width": 5'),
    }
    for name, damage in changes.items():
        yield Case(f"COCO {name}", "coco", damage)


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
        "letters": "0 a b c d",
        "an odd polygon": "1 0.1 0.25 0.3 0.25 0.3 0.4 0.1",
    }.items():
        yield Case(f"YOLO label with {name}", "yolo", put(label, line.encode()))
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
    }.items():
        yield Case(f"data.yaml {name}", "yolo", put("data.yaml", text))


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
    }
    for name, damage in changes.items():
        yield Case(f"labelme JSON {name}", "labelme", damage)


def tables() -> Iterator[Case]:
    """A user's records.csv and labels.csv, and the release's tables."""
    table = "records.csv"
    changes: dict[str, Damage] = {
        "not in UTF-8": put(table, b"image,type\n\xff\xfe,crack\n"),
        "of NUL bytes": put(table, bytes(80)),
        "of no row": put(table, b"image,type\n"),
        "without a picture column": edit(table, "Image,Mask", "Name,Mask"),
        "with an unknown column": edit(table, "Caption", "Capture"),
        "with a column twice": edit(table, "Caption", "Type"),
        "with a NaN box": edit(table, ",5,10,15.5,10", ",nan,10,15.5,10"),
        "with a negative box": edit(table, ",5,10,15.5,10", ",5,10,-15.5,10"),
        "with a box outside": edit(table, ",5,10,15.5,10", ",5,10,1500,10"),
        "with half a box": edit(table, ",5,10,15.5,10", ",5,10,,"),
        "with a box of letters": edit(table, ",5,10,15.5,10", ",a,b,c,d"),
        "with a path that leads out": edit(table, "good.bmp,", "../../good.bmp,"),
        "with an absolute path": edit(table, "good.bmp,", "/etc/passwd,"),
        "with a mask that leads out": edit(table, "masks/good.png", "../../good.png"),
        "with a picture that is not there": edit(table, "new.tif", "zzz.tif"),
        "with a mask that is not there": edit(table, "masks/good.png", "masks/zzz.png"),
        "with an unknown split": edit(table, ",train,", ",learn,"),
    }
    for name, damage in changes.items():
        yield Case(f"table {name}", "csv", damage)
    for name, content in {
        "of another header": b"picture,kind\ncrack/a.png,crack\n",
        "with a picture that is not there": b"image,type\ncrack/zzz.png,crack\n",
        "with a picture twice": b"image,type\ncrack/a.png,crack\ncrack/a.png,dent\n",
        "with an empty type": b"image,type\ncrack/a.png,\n",
        "not in UTF-8": b"image,type\n\xff\xfe,crack\n",
    }.items():
        yield Case(f"labels.csv {name}", "folder", put("labels.csv", content))
    yield from release()


def release() -> Iterator[Case]:
    """The release's CSV files, one of them bad."""
    tiles = "5-10MT_tiles/5-10MT_Tiles.csv"
    for name, damage in {
        "of another header": edit(tiles, "Image Name,label", "File,Id"),
        "without captions": edit(tiles, ",Description", ""),
        "with a label of letters": edit(tiles, "001.jpg,5,", "001.jpg,five,"),
        "with half a label": edit(tiles, "001.jpg,5,", "001.jpg,5.5,"),
        "with an open quote": edit(tiles, '"Tiles. Thin', '"Tiles. "Thin'),
        "with a missing cell": edit(tiles, 'mt3_free_001.jpg,9,"tiles,good",', "mt3_free_001.jpg,"),
        "without a picture's name": edit(tiles, "mt3_free_001.jpg,9", ",9"),
        "with an empty category": edit(tiles, '"tiles,good"', '""'),
        "of no bytes": put(tiles, b""),
    }.items():
        yield Case(f"release table {name}", "imdd1m_release", damage)
