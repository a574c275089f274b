"""Visual Anomaly, VisA (Zou et al. 2022), in its original layout.

`split_csv/<protocol>.csv` (object, split, label, image, mask) says who trains and tests,
`<object>/image_anno.csv` (image, label, mask) names the types, parted by commas, and the grey
values of `<object>/Data/Masks/Anomaly/<n>.png` (1 to 9, black to the eye) say where each type is.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from datamodules.formats.layout import absent_layout
from datamodules.formats.records import make_record
from datamodules.formats.tables import read_rows
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record
from datamodules.vocabulary import GOOD_WORDS, Vocabulary, normalise_name

SPLIT_FILES = ("1cls", "2cls_highshot", "2cls_fewshot")
SPLIT_COLUMNS = ("object", "split", "label", "image", "mask")
TYPE_COLUMNS = ("image", "label")
REMEDY = "take the set again"
# From utils/id2class.py of github.com/amazon-science/spot-diff: the types of grey values 1, 2, ...
_TABLE = """
candle: chunk of wax missing, damaged corner of packaging, weird candle wick, \
    different colour spot, extra wax in candle, foreign particals on candle, \
    wax melded out of the candle, other
capsules: bubble, discolor, scratch, leak, misshape
cashew: burnt, corner or edge breakage, different colour spot, middle breakage, small holes, \
    small scratches, stuck together, same colour spot, other
chewinggum: chunk of gum missing, corner missing, scratches, similar colour spot, small cracks, \
    other
fryum: burnt, corner or edge breakage, different colour spot, fryum stuck together, \
    middle breakage, similar colour spot, small scratches, other
macaroni1: chip around edge and corner, different colour spot, middle breakage, \
    similar colour spot, small cracks, small scratches, other
macaroni2: breakage down the middle, color spot similar to the object, different color spot, \
    small chip around edge, small cracks, small scratches, other
pcb1: bent, melt, scratch, missing
pcb2: bent, melt, scratch, missing
pcb3: bent, melt, scratch, missing
pcb4: burnt, scratch, missing, damage, extra, wrong place, dirt
pipe_fryum: burnt, corner and edge breakage, different colour spot, middle breakage, \
    similar colour spot, small scratches, stuck together, small cracks, other
"""
TYPES_BY_GREY: Mapping[str, tuple[str, ...]] = {
    name: tuple(word.strip() for word in words.split(","))
    for name, _, words in (line.partition(":") for line in _TABLE.strip().splitlines())
}
# Published spellings that would teach a wrong word, or two words for one thing.
RESPELLED = {
    "different color spot": "different colour spot",
    "color spot similar to the object": "similar colour spot",
    "foreign particals on candle": "foreign particles on candle",
    "wax melded out of the candle": "wax melted out of the candle",
    "other": "other defect",
}
PRODUCTS = {
    "chewinggum": "chewing gum",
    "macaroni1": "macaroni 1",
    "macaroni2": "macaroni 2",
    "pcb1": "printed circuit board 1",
    "pcb2": "printed circuit board 2",
    "pcb3": "printed circuit board 3",
    "pcb4": "printed circuit board 4",
    "pipe_fryum": "pipe fryum",
}


class Visa(Source):
    """Twelve objects with named defects, several types in one image and in one mask.

    split_file: "1cls" (only good images train), "2cls_highshot" or "2cls_fewshot". Types keep
    their published names but for five spellings, which remain as synonyms.
    """

    name: ClassVar[str] = "visa"
    left_on_purpose = (("*/Data/*", "not in this split file"),)

    def __init__(self, split_file: str = "1cls") -> None:
        if split_file not in SPLIT_FILES:
            raise ValueError(
                f"visa split_file is {split_file!r}: expected one of {', '.join(SPLIT_FILES)}"
            )
        self.split_file = split_file

    def records(self, root: Path) -> list[Record]:
        """One Record per row of the split's CSV in its order.

        A row of an unknown object, path or type becomes a flawed record. Raises
        FileNotFoundError for missing CSV files, ValueError for CSV files with other columns.
        """
        table = root / "split_csv" / f"{self.split_file}.csv"
        if not table.is_file():
            expected = f"split_csv/{table.name} and the objects"
            raise absent_layout(root, self.about.title, expected)
        rows = read_rows(table, SPLIT_COLUMNS, remedy=REMEDY)
        if not rows:
            raise absent_layout(root, self.about.title, f"rows in {table.name}")
        objects = sorted({row["object"] for row in rows} & set(TYPES_BY_GREY))
        labels: dict[str, str] = {}
        for name in objects:
            if any(row["object"] == name and row["label"] != "normal" for row in rows):
                types = read_rows(root / name / "image_anno.csv", TYPE_COLUMNS, remedy=REMEDY)
                labels |= {row["image"]: row["label"] for row in types}
        return [self._record(row, labels.get(row["image"], "")) for row in rows]

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """All published types, sorted, with the published spelling where ours is another."""
        published = {name for names in TYPES_BY_GREY.values() for name in names}
        words: dict[str, list[str]] = {type_name(name): [type_name(name)] for name in published}
        for spelling, name in RESPELLED.items():
            words[name].append(spelling)
        return Vocabulary((GOOD_WORDS, *(tuple(words[name]) for name in sorted(words))))

    def _record(self, row: Mapping[str, str], label: str) -> Record:
        kind = row["object"]
        is_good = row["label"] == "normal"
        published = () if is_good else tuple(part for part in label.split(",") if part.strip())
        defects = tuple(dict.fromkeys(type_name(part) for part in published))
        flaw = _flaw_of(row, defects)
        values = tuple(
            MaskValues(grey, grey, type_name(name))
            for grey, name in enumerate(TYPES_BY_GREY.get(kind, ()), start=1)
        )
        return make_record(
            self,
            row["image"],
            product=PRODUCTS.get(kind, kind),
            defects=defects,
            mask="" if is_good or flaw else row["mask"],
            mask_values=(MaskValues(0, 0, GOOD), *values),
            split=row["split"],
            flaw=flaw,
        )


def type_name(published: str) -> str:
    """The name of a published type as we spell it."""
    name = normalise_name(published)
    return RESPELLED.get(name, name)


def _flaw_of(row: Mapping[str, str], defects: Sequence[str]) -> str:
    kind, is_good = row["object"], row["label"] == "normal"
    if kind not in TYPES_BY_GREY:
        return f"object {kind!r} is unknown: expected one of {', '.join(TYPES_BY_GREY)}"
    if not is_good and row["label"] != "anomaly":
        return f"label {row['label'][:40]!r} of {row['image']} is unknown: expected normal, anomaly"
    if row["split"] not in ("train", "test"):
        return f"split {row['split']!r} of {row['image']} is unknown: expected train or test"
    if not is_good and not defects:
        return f"{row['image']} has no label in {kind}/image_anno.csv: take the set again"
    known = {type_name(name) for name in TYPES_BY_GREY[kind]}
    strange = [name for name in defects if name not in known]
    return f"type {strange[0]!r} of {row['image']} is none of {kind}" if strange else ""
