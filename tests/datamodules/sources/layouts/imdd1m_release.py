"""Released captions: CSV files of differing headers and encodings, images in their folders."""

from pathlib import Path

from tests.datamodules.sources.painting import save, texture

AIRCRAFT = """Image Name,label,Categories,Description
aircraft1_crack_001.jpg,0,"aircraft,crack","Aircraft industry's skin. Defect: A crack."
"""
TILES = """Image Name,label,Categories,Description
mt3_blowhole_001.jpg,5,"tiles,blowhole","Tiles. Thin objects, ""usually"" square."
mt3_free_001.jpg,9,"tiles,good",Tiles are flat.
mt3_blowhole_404.jpg,5,"tiles,blowhole",A row whose image is not here.
"""
SOLAR = """Image Name,label,Categories,Description
cell0001.png,31,"solar cell, monocrystalline, crack",A fracture flaw.
"""
CAP = """Image Name,categories,label,Description
img_0008697.jpg,"cap, cap deformation, cap bad edge",381,"Noticeable ""cap deformation""."
img_0017151.jpg,cap,382,A cap.\\n\\nWith the two characters of a line break.
"""
SEMICONDUCTOR = """Image Name,label,Categories,Description
WEL9 - Copy.bmp,558,"semiconductor,defect",The device\N{RIGHT SINGLE QUOTATION MARK}s defect.
"""


def write(root: Path) -> None:
    """Five CSV files with seven images for their eight rows, and an image without a row."""
    write_captions(root)
    images = (
        "0-4aircraft4000/aircraft1_crack_001.jpg",
        "5-10MT_tiles/blowhole/mt3_blowhole_001.jpg",
        "5-10MT_tiles/free/MT3_FREE_001.JPG",
        "31-38solarcell/cell0001.png",
        "378_396baijiu/img_0008697.jpg",
        "378_396baijiu/img_0017151.jpg",
        "558_559semiconductor/deep/er/WEL9 - Copy.bmp",
        "558_559semiconductor/nobody_wrote_of_this.bmp",
    )
    for seed, path in enumerate(images):
        save(root / path, texture(seed))


def write_captions(root: Path) -> None:
    """The CSV files alone, the last of them in cp950."""
    files = {
        "0-4aircraft4000 - 1precise_translation_output.csv": AIRCRAFT,
        "5-10MT_tiles/5-10MT_Tiles.csv": TILES,
        "31-38solarcell/31-38SOLARCELL.csv": SOLAR,
        "378_396baijiu/this_cap_translation_output.csv": CAP,
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    semiconductor = root / "558_559semiconductor" / "THIS_semi.csv"
    semiconductor.parent.mkdir()
    semiconductor.write_bytes(SEMICONDUCTOR.encode("cp950"))
