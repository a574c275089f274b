"""Mask files of the public layouts, one of them bad, and the lists that speak of them."""

from collections.abc import Iterator

import numpy as np

from tests.datamodules.malformed.damage import Case, Damage, cut, drop, edit, link, picture, put

# One mask of each layout, and how many pictures it belongs to.
MASKS = {
    "dagm": ("Class1/Train/Label/0577_label.PNG", 1),
    "btad": ("BTech_Dataset_transformed/01/ground_truth/ko/0000.png", 1),
    "mvtec_ad": ("bottle/ground_truth/broken_large/000_mask.png", 1),
    "kolektor_sdd2": ("train/10301_GT.png", 1),
    "mtd": ("MT_Crack/Imgs/exp1_num_1007.png", 1),
    "visa": ("candle/Data/Masks/Anomaly/000.png", 1),
    "real_iad": (
        "realiad_1024/bottle_cap/NG/AK/S0001/bottle_cap__0001_NG_AK_C1_20231023111538.png",
        1,
    ),
    "csv": ("masks/a.png", 2),
    "merged": ("tiles/mask.png", 1),
}
LABELS = "Class1/Train/Label/Labels.txt"


def masks() -> Iterator[Case]:
    """Masks that are missing, cut, links, of another size, coloured, or of another kind."""
    blank = np.zeros((40, 50), np.uint8)
    red = np.stack([blank + 255, blank, blank], axis=2)
    for source, (path, owners) in MASKS.items():
        damages: dict[str, Damage] = {
            "missing": drop(path),
            "cut": cut(path, 0.6),
            "text": put(path, b"404: not found"),
            "a link": link(path, "other.png"),
            "too small": put(path, picture("PNG", blank[:30])),
            "coloured": put(path, picture("PNG", red)),
        }
        for name, damage in damages.items():
            yield Case(f"mask of {source} {name}", source, damage, costs=owners)
    for source in ("dagm", "mvtec_ad", "mtd", "real_iad", "visa", "merged"):
        wide = put(MASKS[source][0], picture("PNG", blank.astype(np.uint16) + 999))
        yield Case(f"mask of {source} with the id 999", source, wide)
    strange = put(MASKS["visa"][0], picture("PNG", blank + 77))
    yield Case("mask of visa with the id 77", "visa", strange)


def labels() -> Iterator[Case]:
    """DAGM's Labels.txt, one line of it bad."""
    for name, old, new in (
        ("flag 2", "\t0\t0576", "\t2\t0576"),
        ("a flag in letters", "577\t1", "577\tx"),
        ("a short line", "577\t1\t0577.PNG\t0\t0577_label.PNG", "577\t1"),
        ("another picture", "0577.PNG\t0", "9999.PNG\t0"),
        ("a good picture called bad", "\t0\t0576", "\t1\t0576"),
        ("a bad picture called good", "577\t1", "577\t0"),
    ):
        yield Case(f"labels of DAGM with {name}", "dagm", edit(LABELS, old, new))
    for name, content in {"no bytes": b"", "NUL": bytes(50), "noise": bytes(range(256))}.items():
        yield Case(f"labels of DAGM of {name}", "dagm", put(LABELS, content), costs=2)
    yield Case("DAGM without labels", "dagm", drop(LABELS))


def types() -> Iterator[Case]:
    """VisA's list of types, one row of it bad, and rows of the split that fit no object."""
    split, path = "split_csv/1cls.csv", "candle/image_anno.csv"
    label = '"different colour spot,foreign particals on candle"'
    for name, damage in {
        "missing": drop(path),
        "not in UTF-8": put(path, b"image,label\n\xff\xfe,x\n"),
        "of another header": edit(path, "image,label", "a,b"),
        "of an unknown type": edit(path, "different colour spot", "unicorn"),
        "of no type": edit(path, label, '""'),
        "without the picture": edit(path, "Anomaly/000.JPG", "Anomaly/777.JPG"),
    }.items():
        yield Case(f"types of VisA {name}", "visa", damage)
    for name, old, new in (
        ("an unknown object", "candle,train", "unicorn,train"),
        ("a short row", "candle,train,normal,candle/Data/Images/Normal/0000.JPG,", "candle,train"),
        ("an open quote", "candle,train", '"candle,train'),
        ("a picture twice", "Normal/0001", "Normal/0000"),
    ):
        yield Case(f"VisA table with {name}", "visa", edit(split, old, new))
