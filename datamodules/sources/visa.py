"""Visual Anomaly, VisA (Zou et al. 2022), in its original layout.

`split_csv/<protocol>.csv` (object, split, label, image, mask) says who trains and tests,
`<object>/image_anno.csv` (image, label, mask) names the types, parted by commas, and the grey
values of `<object>/Data/Masks/Anomaly/<n>.png` (1 to 9, black to the eye) say where each type is.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from datamodules.about import About, Download
from datamodules.captions import Caption
from datamodules.formats.listing import absent_layout, is_below_root
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record
from datamodules.vocabulary import GOOD_WORDS, Vocabulary, normalise_name

SPLIT_FILES = ("1cls", "2cls_highshot", "2cls_fewshot")
SPLIT_COLUMNS = ("object", "split", "label", "image", "mask")
TYPE_COLUMNS = ("image", "label")
# From utils/id2class.py of github.com/amazon-science/spot-diff: the types of grey values 1, 2, ...
_MACARONI_ENDING = ("small cracks", "small scratches", "other")
_PCB = ("bent", "melt", "scratch", "missing")
TYPES_BY_GREY: Mapping[str, tuple[str, ...]] = {
    "candle": (
        "chunk of wax missing",
        "damaged corner of packaging",
        "weird candle wick",
        "different colour spot",
        "extra wax in candle",
        "foreign particals on candle",
        "wax melded out of the candle",
        "other",
    ),
    "capsules": ("bubble", "discolor", "scratch", "leak", "misshape"),
    "cashew": (
        "burnt",
        "corner or edge breakage",
        "different colour spot",
        "middle breakage",
        "small holes",
        "small scratches",
        "stuck together",
        "same colour spot",
        "other",
    ),
    "chewinggum": (
        "chunk of gum missing",
        "corner missing",
        "scratches",
        "similar colour spot",
        "small cracks",
        "other",
    ),
    "fryum": (
        "burnt",
        "corner or edge breakage",
        "different colour spot",
        "fryum stuck together",
        "middle breakage",
        "similar colour spot",
        "small scratches",
        "other",
    ),
    "macaroni1": (
        "chip around edge and corner",
        "different colour spot",
        "middle breakage",
        "similar colour spot",
        *_MACARONI_ENDING,
    ),
    "macaroni2": (
        "breakage down the middle",
        "color spot similar to the object",
        "different color spot",
        "small chip around edge",
        *_MACARONI_ENDING,
    ),
    "pcb1": _PCB,
    "pcb2": _PCB,
    "pcb3": _PCB,
    "pcb4": ("burnt", "scratch", "missing", "damage", "extra", "wrong place", "dirt"),
    "pipe_fryum": (
        "burnt",
        "corner and edge breakage",
        "different colour spot",
        "middle breakage",
        "similar colour spot",
        "small scratches",
        "stuck together",
        "small cracks",
        "other",
    ),
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
    "candle": "candle",
    "capsules": "capsules",
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
    """Twelve objects with named defects, several types in one picture and in one mask.

    split_file: "1cls" (only good pictures train), "2cls_highshot" or "2cls_fewshot". Types keep
    their published names but for five spellings, which remain as synonyms.
    """

    name: ClassVar[str] = "visa"
    about: ClassVar[About] = About(
        title="Visual Anomaly (VisA)",
        licence="CC-BY-4.0",
        licence_url="https://creativecommons.org/licenses/by/4.0/",
        citation=(
            "Y. Zou, J. Jeong, L. Pemula, D. Zhang, O. Dabeer: SPot-the-Difference Self-Supervised "
            "Pre-training for Anomaly Detection and Segmentation. ECCV 2022, arXiv:2207.14315"
        ),
        homepage="https://github.com/amazon-science/spot-diff",
        downloads=(
            Download(
                url="https://amazon-visual-anomaly.s3.us-west-2.amazonaws.com/VisA_20220922.tar",
                sha256="2eb8690c803ab37de0324772964100169ec8ba1fa3f7e94291c9ca673f40f362",
                size_bytes=1_929_840_640,
            ),
        ),
    )

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
        root = Path(root)
        table = root / "split_csv" / f"{self.split_file}.csv"
        if not table.is_file():
            raise absent_layout(
                root, title=self.about.title, expected=f"split_csv/{table.name} and the objects"
            )
        rows = _read_table(table, SPLIT_COLUMNS)
        if not rows:
            raise absent_layout(root, title=self.about.title, expected=f"rows in {table.name}")
        objects = sorted({row["object"] for row in rows} & set(TYPES_BY_GREY))
        labels: dict[str, str] = {}
        for name in objects:
            if any(row["object"] == name and row["label"] != "normal" for row in rows):
                annotations = _read_table(root / name / "image_anno.csv", TYPE_COLUMNS)
                labels |= {row["image"]: row["label"] for row in annotations}
        return [self._record(row, labels.get(row["image"], "")) for row in rows]

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """All published types, sorted, with the published spelling where ours is another."""
        words = {
            type_name(name): [type_name(name)] for row in TYPES_BY_GREY.values() for name in row
        }
        for published, name in RESPELLED.items():
            words[name].append(published)
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
        has_mask = not is_good and not flaw
        return Record(
            image=row["image"],
            mask=row["mask"] if has_mask else "",
            mask_values=(MaskValues(0, 0, GOOD), *values) if has_mask else (),
            defects=defects,
            caption=Caption(product=PRODUCTS.get(kind, kind), defect=" and ".join(defects)),
            group=f"{self.name}_{row['image']}",
            source=self.name,
            split=row["split"],
            licence=self.about.licence,
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
    paths = [row["image"]] if is_good else [row["image"], row["mask"]]
    outside = [path for path in paths if not is_below_root(path)]
    if outside:
        return f"path {outside[0]!r} does not lie in the data folder: correct the split's CSV"
    if row["split"] not in ("train", "test"):
        return f"split {row['split']!r} of {row['image']} is unknown: expected train or test"
    if not is_good and not defects:
        return f"{row['image']} has no label in {kind}/image_anno.csv: take the set again"
    known = {type_name(name) for name in TYPES_BY_GREY[kind]}
    strange = [name for name in defects if name not in known]
    if strange:
        return (
            f"type {strange[0]!r} of {row['image']} is none of {kind}: {', '.join(sorted(known))}"
        )
    return ""


def _read_table(path: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    """The rows of a CSV, blanks stripped; ValueError where columns are missing."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.name} is missing in {path.parent}: expected the original file; "
            "take the set again"
        )
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise ValueError(f"it has no column {missing[0]!r}")
            return [{name: (row[name] or "").strip() for name in columns} for row in reader]
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ValueError(
            f"{path} is not readable ({error}): expected UTF-8 CSV with {', '.join(columns)}; "
            "take the set again"
        ) from error
