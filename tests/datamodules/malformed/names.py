"""Names and paths that no file should have, on the disk and in tables."""

from collections.abc import Iterator

from tests.datamodules.malformed.damage import (
    Case,
    Damage,
    both,
    edit,
    link,
    picture,
    put,
    turn_into_folder,
)

REAL_IAD = "realiad_jsons/realiad_jsons/bottle_cap.json"
COCO = "annotations/instances_train.json"
VISA = "split_csv/1cls.csv"
LONG = "x" * 300


def names_on_disk() -> Iterator[Case]:
    """Files and masks with line breaks, control characters and bytes that are no UTF-8."""
    for what, name in {
        "two lines": "two\nlines",
        "a bell": "bell\x07",
        "Latin-1": "caf\udce9",
        "a turned direction": "a\u202eb",
    }.items():
        content = picture("PNG")
        yield Case(f"mask named by {what}", "folder", put(f"masks/crack/{name}.png", content))
        yield Case(f"type named by {what}", "folder", put(f"images/{name}/a.png", content))
    yield Case("picture named by Latin-1", "folder", put("images/crack/caf\udce9.png", content))
    yield Case("picture that links to itself", "folder", link("images/crack/b.png", "b.png"))
    yield Case("mask that links outside", "folder", link("masks/crack/a.png", "../../../outside"))


def folders() -> Iterator[Case]:
    """Folders where a file should be."""
    for source, path in {
        "neu_seg": "annotations/training/000001.png",
        "elpv": "images/cell0001.png",
        "visa": "candle/Data/Masks/Anomaly/000.png",
        "neu_det": "ANNOTATIONS/crazing_1.xml",
        "deeppcb": "PCBData/group00041/00041_not/00041000.txt",
        "severstal": "train.csv",
        "dagm": "Class1/Train/Label/Labels.txt",
        "wm811k": "wm811k.parquet",
        "coco": COCO,
        "csv": "records.csv",
        "yolo": "data.yaml",
    }.items():
        yield Case(f"{source} with a folder for a file", source, turn_into_folder(path))


def names_in_tables() -> Iterator[Case]:
    """Paths in tables with NUL, line breaks, halves of characters, and far too long ones."""
    wafer = "candle/Data/Images/Normal/0000"
    edits: dict[str, tuple[str, Damage]] = {
        "NUL in VisA": ("visa", edit(VISA, wafer, "candle/\0")),
        "a bell in VisA": ("visa", edit(VISA, wafer, "candle/\a")),
        "300 letters in VisA": ("visa", edit(VISA, wafer, f"candle/{LONG}")),
        "NUL in ELPV": ("elpv", edit("labels.csv", "images/cell0001", "images/\0")),
        "a bell in ELPV": ("elpv", edit("labels.csv", "images/cell0001", "images/\a")),
        "300 letters in ELPV": ("elpv", edit("labels.csv", "images/cell0001", f"images/{LONG}")),
        "NUL in Severstal": ("severstal", edit("train.csv", "0002cc93b.jpg", "\0.jpg")),
        "two lines in Severstal": ("severstal", edit("train.csv", "0002cc93b.jpg", '"a\nb.jpg"')),
        "300 letters in Severstal": ("severstal", edit("train.csv", "0002cc93b", LONG)),
        "NUL in Real-IAD": ("real_iad", edit(REAL_IAD, "OK/S0001/", "OK/\\u0000/")),
        "half a character in Real-IAD": ("real_iad", edit(REAL_IAD, "OK/S0001/", "\\ud800/")),
        "two lines in Real-IAD": ("real_iad", edit(REAL_IAD, "NG/AK/S0001/", "NG/\\n/S0001/")),
        "300 letters in Real-IAD": ("real_iad", edit(REAL_IAD, "OK/S0001/", f"{LONG}/")),
        "another prefix in Real-IAD": ("real_iad", edit(REAL_IAD, '"bottle_cap/"', '"../../"')),
        "NUL in COCO": ("coco", edit(COCO, "c.bmp", "\\u0000.bmp")),
        "half a character in COCO": ("coco", edit(COCO, "c.bmp", "\\ud800.bmp")),
        "300 letters in COCO": ("coco", edit(COCO, "c.bmp", f"{LONG}.bmp")),
        "NUL in a table": ("csv", edit("records.csv", "good.bmp,", "go\0od.bmp,")),
        "nothing in a table": ("csv", edit("records.csv", "new.tif", "")),
        "NUL in labels.csv": ("folder", put("labels.csv", b"image,type\ncrack/\0.png,crack\n")),
        "way out in labels.csv": ("folder", put("labels.csv", b"image,type\n../../a.png,crack\n")),
    }
    for name, (source, damage) in edits.items():
        yield Case(f"path with {name}", source, damage)
    listed = b"images/train/a b.JPG\na\0b.png\n../../outside.png\n"
    lists = both(put("list.txt", listed), edit("data.yaml", "images/train", "list.txt"))
    yield Case("YOLO list with odd paths", "yolo", lists, costs=3)
