"""Own images told by records.csv."""

from pathlib import Path

from tests.datamodules.sources.painting import save, spot, texture

TABLE = """Image,Mask,Type,Caption,Product,Material,Group,Split,Licence,Left,Top,Width,Height
shots/a b.JPG,masks/a.png,Pin-Hole,"A tile, with a hole.",tile,ferrite,board 7,train,CC0-1.0,,,,
shots/ü.png,,crack,,,,board 8,test,,5,10,15.5,10
shots/ü.png,,dent,,,,,,,1,2,3,4
good.bmp,masks/good.png,good,,,,,,,,,,
two.png,,crack;dent,,,,,,,,,,
unnamed.png,masks/a.png,,,,,,,,,,,
new.tif,,,,,,,,,,,,
"""


def write(root: Path) -> None:
    """A mask, boxes, a good image, types without place, an unnamed mask, an unlabelled one."""
    names = ("shots/a b.JPG", "shots/ü.png", "good.bmp", "two.png", "unnamed.png", "new.tif")
    for number, name in enumerate(names):
        save(root / name, texture(number))
    save(root / "masks/a.png", spot(255))
    save(root / "masks/good.png", spot(0))
    (root / "records.csv").write_text(TABLE, encoding="utf-8-sig")
