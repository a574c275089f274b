"""Bad images and masks, bad names on the disk: source, damage, words of the refusal."""

import io
import zlib
from collections.abc import Iterator

import numpy as np
from PIL import Image

from tests.datamodules.sources.damage import (
    PIXELS,
    Damage,
    cut,
    drop,
    image_bytes,
    link,
    png_of,
    put,
    turn_into_folder,
)

Case = tuple[str, Damage, str]
BAD, MASK = "images/crack/bad.", "annotations/training/000001.png"
UNREADABLE = "is not a readable image"
STRANGERS = {
    "text": b"this is no image\n",
    "a page": b"<!doctype html><html><body>404 not found</body></html>",
    "a pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "a zip": b"PK\x03\x04" + bytes(60),
    "zeros": bytes(500),
    "nothing": b"",
}
# One mask of each layout that has masks as files.
MASKS = {
    "dagm": "Class1/Train/Label/0577_label.PNG",
    "btad": "BTech_Dataset_transformed/01/ground_truth/ko/0000.png",
    "mvtec_ad": "bottle/ground_truth/broken_large/000_mask.png",
    "kolektor_sdd2": "train/10301_GT.png",
    "mtd": "MT_Crack/Imgs/exp1_num_1007.png",
    "neu_seg": MASK,
    "visa": "candle/Data/Masks/Anomaly/000.png",
    "real_iad": "realiad_1024/bottle_cap/NG/AK/S0001/bottle_cap__0001_NG_AK_C1_20231023111538.png",
    "csv": "masks/a.png",
    "merged": "tiles/mask.png",
}
FOLDERS = {
    "elpv": "images/cell0001.png",
    "neu_det": "ANNOTATIONS/crazing_1.xml",
    "deeppcb": "PCBData/group00041/00041_not/00041000.txt",
    "severstal": "train.csv",
    "dagm": "Class1/Train/Label/Labels.txt",
    "wm811k": "wm811k.parquet",
    "coco": "annotations/instances_train.json",
    "csv": "records.csv",
    "yolo": "data.yaml",
}


def images() -> Iterator[Case]:
    """A user's folder with one more image, which is bad."""
    for kind, suffix in (("PNG", "png"), ("JPEG", "jpg"), ("TIFF", "tif"), ("BMP", "bmp")):
        whole = image_bytes(kind)
        for share in (0.25, 0.9):
            yield "folder", put(BAD + suffix, whole[: int(len(whole) * share)]), UNREADABLE
    for content in STRANGERS.values():
        yield "folder", put(BAD + "png", content), UNREADABLE
    rows, floats = zlib.compress(bytes(51 * 40)), PIXELS.astype(np.float32)
    wrong = bytearray(png_of(50, 40, rows))
    wrong[29] ^= 1
    jpeg = image_bytes("JPEG")
    size = jpeg.index(b"\xff\xc0") + 5
    strips = bytearray(image_bytes("TIFF"))
    strips[strips.index(b"\x11\x01\x04\x00") + 2] = 11  # they begin at a fraction
    bmp = bytearray(image_bytes("BMP"))
    bmp[18:26] = (60_000).to_bytes(4, "little") * 2
    for suffix, content, words in (
        ("png", png_of(100_000, 100_000), "more than 100 megapixels"),
        ("png", png_of(20_000, 20_000, zlib.compress(bytes(10**6))), "more than 100 megapixels"),
        ("jpg", jpeg[:size] + b"\xff\xdc\xff\xdc" + jpeg[size + 4 :], "more than 100 megapixels"),
        ("bmp", bytes(bmp), "more than 100 megapixels"),
        ("png", png_of(0, 40), UNREADABLE),
        ("png", png_of(50, 40), UNREADABLE),
        ("png", png_of(50, 40, rows, depth=3), UNREADABLE),
        ("png", png_of(50, 40, zlib.compress(bytes(100))), UNREADABLE),
        ("png", bytes(wrong), UNREADABLE),
        ("jpg", jpeg[:-2], UNREADABLE),
        ("tif", image_bytes("TIFF")[:40], UNREADABLE),
        ("tif", bytes(strips), UNREADABLE),
        ("tif", image_bytes("TIFF", floats), "floating-point pixels"),
        ("tif", image_bytes("TIFF", PIXELS.astype(np.int32) * 2**20), "expected a range of 16"),
    ):
        yield "folder", put(BAD + suffix, content), words
    for target in ("../../../outside.png", "../good/a.png", "bad.png"):
        yield "folder", link(BAD + "png", target), "symbolic link"


def masks() -> Iterator[Case]:
    """Masks that are missing, cut, links, of another size, coloured, or of another kind."""
    blank = np.zeros((40, 50), np.uint8)
    red = np.stack([blank + 255, blank, blank], axis=2)
    for source, path in MASKS.items():
        gone = "has no label file" if source == "dagm" else "is missing"
        yield source, drop(path), gone
        yield source, cut(path, 0.6), UNREADABLE
        yield source, link(path, "other.png"), "symbolic link"
        yield source, put(path, blank[:30]), "expected its image's 50x40 px"
        yield source, put(path, red), "is coloured"
        if source not in ("csv", "kolektor_sdd2", "btad"):
            yield source, put(path, blank.astype(np.uint16) + 999), "holds the unknown id 999"
    inks = io.BytesIO()
    Image.new("CMYK", (50, 40)).save(inks, format="TIFF")
    for content in STRANGERS.values():
        yield "neu_seg", put(MASK, content), UNREADABLE
    yield "neu_seg", put(MASK, np.ascontiguousarray(blank.T)), "40x50 px"
    yield "neu_seg", put(MASK, image_bytes("TIFF", blank.astype(np.float32))), "mode F"
    yield "neu_seg", put(MASK, inks.getvalue()), "mode CMYK"
    yield "folder", put("masks/crack/zzz.png", blank), "belongs to no image"
    yield "folder", put("masks/good/a.png", blank + 255), "is good, but its mask"
    yield "folder", put("masks/crack/a.png", b"no image"), UNREADABLE
    yield "folder", put("masks/crack/a.png", blank[:9]), "expected its image's"


def names() -> Iterator[Case]:
    """Names that no file should have, and folders where a file should be."""
    for name in ("two\nlines", "bell\x07", "caf\udce9", "a\u202eb"):
        yield "folder", put(f"masks/crack/{name}.png", PIXELS), "belongs to no image"
        yield "folder", put(f"images/crack/{name}.png", PIXELS), "unprintable characters"
        yield "folder", put(f"images/{name}/a.png", PIXELS), "unprintable characters"
    for source, path in FOLDERS.items():
        yield source, turn_into_folder(path), ""
