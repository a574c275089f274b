"""Bad tables: a user's own, the release's captions, boxes to paint over."""

from collections.abc import Iterator

from tests.datamodules.malformed.damage import Case, Damage, edit, put
from tests.datamodules.malformed.ending import REDACTIONS


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
        "with a bell in a type": edit(table, "crack,,,,board 8", "cr\aack,,,,board 8"),
        "with a row too long": edit(table, "new.tif,", "new.tif,,,,,"),
        "with an open quote": edit(table, '"A tile', '"A" tile'),
        "with an infinite box": edit(table, ",5,10,15.5,10", ",5,10,inf,10"),
        "with a mask and boxes": edit(table, "shots/ü.png,,dent", "shots/ü.png,masks/a.png,dent"),
        "with a good box": edit(table, "shots/ü.png,,dent", "shots/ü.png,,good"),
        "with a label that is none": edit(table, ",test,", ",unlabelled,"),
        "with a huge cell": edit(table, "new.tif", "n" * 200_000),
        "in UTF-16": put(table, "image,type\n".encode("utf-16")),
    }
    for name, damage in changes.items():
        fault = "record_table.py: an unprintable header is printed" if "NUL" in name else ""
        yield Case(f"table {name}", "csv", damage, fault=fault)
    twice = edit(table, "new.tif,", "./good.bmp,")
    yield Case("table with a picture spelt twice", "csv", twice, costs=2)
    for name, content in {
        "of another header": b"picture,kind\ncrack/a.png,crack\n",
        "with a picture that is not there": b"image,type\ncrack/zzz.png,crack\n",
        "with a picture twice": b"image,type\ncrack/a.png,crack\ncrack/a.png,dent\n",
        "with an empty type": b"image,type\ncrack/a.png,\n",
        "not in UTF-8": b"image,type\n\xff\xfe,crack\n",
        "of no bytes": b"",
        "of NUL bytes": bytes(60),
        "of semicolons": b"image;type\ncrack/a.png;crack\n",
        "with a column twice": b"image,type,type\ncrack/a.png,crack,dent\n",
        "with a row too long": b"image,type,caption\ncrack/a.png,crack,A tile, cracked\n",
        "with a row too short": b"image,type\ncrack/a.png\n",
        "with a bell in a type": b"image,type\ncrack/a.png,cr\x07ack\n",
        "with an open quote": b'image,type\n"crack/a.png,crack\n',
        "with a huge cell": b"image,type\n" + b"a" * 200_000 + b",crack\n",
    }.items():
        yield Case(f"labels.csv {name}", "folder", put("labels.csv", content))
    yield from release()
    yield from redactions()


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
        "of noise": put(tiles, bytes(range(256)) * 4),
        "with a negative label": edit(tiles, ",5,", ",-5,"),
        "with a huge label": edit(tiles, ",5,", f",{'9' * 20},"),
        "with a column twice": edit(tiles, "Image Name,label", "Image Name,Image Name"),
        "with a picture of two types": edit(tiles, "mt3_free_001.jpg", "mt3_blowhole_001.jpg"),
        "with a bell in a type": edit(tiles, "tiles,blowhole", "tiles,blow\ahole"),
    }.items():
        yield Case(f"release table {name}", "imdd1m_release", damage)
    stray = put("stray.csv", b"a,b\n1,2\n")
    yield Case("release with a strange table", "imdd1m_release", stray)


def redactions() -> Iterator[Case]:
    """The table of boxes to paint over, which `ending.py` reads where it lies in the root."""
    header, name = b"image,left,top,width,height\n", b"images/crack/a.png"
    for what, content in {
        "not in UTF-8": header + b"\xff\xfe,1,2,3,4\n",
        "of no bytes": b"",
        "of NUL bytes": bytes(40),
        "of another header": b"a,b\n",
        "with a column twice": b"image,left,left,width,height\n",
        "with letters": header + name + b",a,2,3,4\n",
        "with NaN": header + name + b",nan,2,3,4\n",
        "with half pixels": header + name + b",1.5,2,3,4\n",
        "with a negative width": header + name + b",1,2,-3,4\n",
        "with no width": header + name + b",1,2,0,4\n",
        "with a row too short": header + name + b",1,2\n",
        "with a row too long": header + name + b",1,2,3,4,5\n",
        "of an unknown picture": header + b"images/zzz.png,1,2,3,4\n",
        "with a path that leads out": header + b"../outside.png,1,2,3,4\n",
        "of no picture": header + b",1,2,3,4\n",
        "with a box outside": header + name + b",900,2,3,4\n",
        "with 5000 digits": header + name + b"," + b"9" * 5000 + b",2,3,4\n",
        "with a huge cell": header + b"a" * 200_000 + b",1,2,3,4\n",
    }.items():
        yield Case(f"redactions {what}", "folder", put(REDACTIONS, content))
