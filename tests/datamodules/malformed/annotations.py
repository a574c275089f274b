"""Bad words and numbers in the text files of public layouts: XML, text, CSV, JSON."""

from collections.abc import Iterator

from tests.datamodules.malformed.damage import Case, Damage, cut, drop, edit, put

LAUGHS = (
    '<!DOCTYPE a [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    "<annotation>&b;</annotation>"
)
OUTSIDE = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation>&x;</annotation>'
VOC = "ANNOTATIONS/crazing_1.xml"
BOARD = "PCBData/group00041/00041_not/00041000.txt"


def voc() -> Iterator[Case]:
    """Pascal VOC files of steel strip, one of them bad."""
    contents = {
        "empty": b"",
        "cut": b"<annotation><object><name>crazing</name>",
        "with a billion laughs": LAUGHS.encode(),
        "that reads a file": OUTSIDE.encode(),
        "of another root": b"<html></html>",
        "not in UTF-8": b"<annotation><object><name>\xff\xfe</name></object></annotation>",
        "of JSON": b'{"annotation": {}}',
        "nested deeply": b"<annotation>" + b"<a>" * 20_000 + b"</a>" * 20_000 + b"</annotation>",
        "of NUL bytes": bytes(200),
    }
    for name, content in contents.items():
        yield Case(f"XML {name}", "neu_det", put(VOC, content))
    changes = {
        "xmax NaN": ("<xmax>50<", "<xmax>nan<"),
        "xmax infinite": ("<xmax>50<", "<xmax>1e309<"),
        "xmax in letters": ("<xmax>50<", "<xmax>fifty<"),
        "xmax empty": ("<xmax>50<", "<xmax><"),
        "xmax missing": ("<xmax>50</xmax>", ""),
        "xmin negative": ("<xmin>1<", "<xmin>-30<"),
        "corners turned round": ("<xmax>50<", "<xmax>0<"),
        "box outside": ("<xmax>50<", "<xmax>500<"),
        "box far outside": ("<ymax>40<", "<ymax>99999999999<"),
        "unknown class": ("<name>crazing<", "<name>unicorn<"),
        "empty class": ("<name>crazing<", "<name><"),
        "class missing": ("<name>crazing</name>", ""),
        "box missing": ("<bndbox>", "<bnd>"),
    }
    for name, (old, new) in changes.items():
        yield Case(f"VOC {name}", "neu_det", edit(VOC, old, new))
    yield Case("VOC file missing", "neu_det", drop(VOC))


def boards() -> Iterator[Case]:
    """DeepPCB's lines of four corners and a type, one of them bad."""
    lines = {
        "a missing field": "5 10 20 1",
        "a field too many": "5 10 20 20 1 7",
        "letters": "a b c d 1",
        "type 0": "5 10 20 20 0",
        "type 9": "5 10 20 20 9",
        "type in words": "5 10 20 20 open",
        "a negative corner": "-50 10 20 20 1",
        "corners turned round": "20 20 5 10 1",
        "no area": "5 10 5 20 1",
        "a box outside": "5 10 2000 20 1",
        "NaN": "nan 10 20 20 1",
        "infinity": "5 10 inf 20 1",
        "a huge number": f"5 10 {10**400} 20 1",
    }
    for name, line in lines.items():
        yield Case(f"board with {name}", "deeppcb", put(BOARD, f"{line}\n".encode()))
    yield Case("board not in UTF-8", "deeppcb", put(BOARD, b"\xff\xfe\x00 1 2"))
    yield Case("board without its file", "deeppcb", drop(BOARD))


def cells() -> Iterator[Case]:
    """ELPV's table of aligned columns, one line of it bad."""
    line = "images/cell0001.png  1.0                 mono"
    for name, bad in {
        "probability 2": "images/cell0001.png  2.0  mono",
        "probability below 0": "images/cell0001.png  -1.0  mono",
        "probability NaN": "images/cell0001.png  nan  mono",
        "probability in words": "images/cell0001.png  sure  mono",
        "no probability": "images/cell0001.png  mono",
        "no kind": "images/cell0001.png  1.0",
        "an unknown kind": "images/cell0001.png  1.0  amorphous",
        "a picture that is not there": "images/cell7777.png  1.0  mono",
        "a path that leads out": "../cell0001.png  1.0  mono",
        "an absolute path": "/etc/passwd  1.0  mono",
    }.items():
        yield Case(f"cell with {name}", "elpv", edit("labels.csv", line, bad))
    yield Case("cells not in UTF-8", "elpv", put("labels.csv", b"\xff\xfe\x00\x00"))
    yield Case("cells of no line", "elpv", put("labels.csv", b""))


def runs() -> Iterator[Case]:
    """Severstal's run lengths, one row of them bad."""
    for name, bad in {
        "an odd count": "211 10 251",
        "a run of no length": "211 0",
        "a negative length": "211 -10",
        "a start before the first pixel": "0 10",
        "an end behind the last pixel": "1995 100",
        "overlapping runs": "211 10 215 10",
        "descending runs": "251 10 211 10",
        "letters": "a b",
        "half pixels": "211.5 10",
        "NaN": "nan nan",
        "a huge number": f"{10**30} 1",
    }.items():
        yield Case(f"runs with {name}", "severstal", edit("train.csv", "211 10 251 10", bad))
    for name, old, new in (
        ("class 7", "0002cc93b.jpg,1,", "0002cc93b.jpg,7,"),
        ("class in words", "0002cc93b.jpg,1,", "0002cc93b.jpg,scratch,"),
        ("an unknown picture", "0002cc93b.jpg,1,", "nowhere.jpg,1,"),
        ("a path that leads out", "0002cc93b.jpg,1,", "../x.jpg,1,"),
        ("another header", "ImageId,ClassId,EncodedPixels", "a,b,c"),
    ):
        yield Case(f"runs with {name}", "severstal", edit("train.csv", old, new))


def lists() -> Iterator[Case]:
    """Real-IAD's JSON and VisA's CSV, one entry of them bad."""
    table = "realiad_jsons/realiad_jsons/bottle_cap.json"
    edits: dict[str, Damage] = {
        "cut": cut(table, 0.6),
        "empty": put(table, b""),
        "a list": put(table, b"[]"),
        "a number": put(table, b"7"),
        "without lists": edit(table, '"test"', '"proof"'),
        "with an unknown code": edit(table, '"AK"', '"XX"'),
        "with a path that leads out": edit(table, "OK/S0001/", "../../../"),
        "with an absolute path": edit(table, "OK/S0001/", "/etc/"),
        "with a picture of no name": edit(table, '"image_path"', '"picture"'),
        "nested deeply": put(table, b"[" * 100_000),
        "not in UTF-8": put(table, b'{"meta": "\xff"}'),
    }
    for name, damage in edits.items():
        yield Case(f"Real-IAD list {name}", "real_iad", damage)
    split = "split_csv/1cls.csv"
    visa: dict[str, Damage] = {
        "of another header": edit(split, "object,split", "thing,part"),
        "with an unknown split": edit(split, "candle,train", "candle,learn"),
        "with an unknown label": edit(split, ",normal,", ",fine,"),
        "with a path that leads out": edit(split, "candle/Data/Images/Normal/0000", "../../0000"),
        "with an absolute path": edit(split, "candle/Data/Images/Normal/0000", "/etc/0000"),
        "with a missing mask": edit(split, "Masks/Anomaly/000.png", "Masks/Anomaly/777.png"),
        "not in UTF-8": put(split, b"object,split,label,image,mask\n\xff\xfe,,,,\n"),
        "of no row": put(split, b"object,split,label,image,mask\n"),
        "of NUL bytes": put(split, bytes(64)),
    }
    for name, damage in visa.items():
        yield Case(f"VisA table {name}", "visa", damage)
