"""Severstal: Steel Defect Detection (2019) in its original layout.

`train_images/<hex>.jpg`, `test_images/<hex>.jpg` and `train.csv`, in its final form (ImageId,
ClassId, EncodedPixels; only what is defective) or its first one (ImageId_ClassId, EncodedPixels;
four rows per picture, mostly empty). EncodedPixels are runs down the columns, counted from 1.
"""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

from datamodules.about import About
from datamodules.captions import Caption
from datamodules.formats.listing import absent_layout, is_below_root, list_pictures
from datamodules.manifest import Source
from datamodules.sample import UNLABELLED, Record, Region
from datamodules.vocabulary import GOOD_WORDS, Vocabulary

CLASSES = ("1", "2", "3", "4")
FINAL_COLUMNS = ("ImageId", "ClassId", "EncodedPixels")
FIRST_COLUMNS = ("ImageId_ClassId", "EncodedPixels")
NO_PIXELS = ("", "nan")
REMEDY = "take train.csv again"


class Severstal(Source):
    """Pictures of a flat steel sheet, 1600 x 256 px, with up to four classes of defect in one.

    The owner never said what the classes are, and those who guessed do not agree (class 1 is
    "pitted surface" or "crack", class 3 "scratch" or "dent"): they stay "class 1" to "class 4".
    A training picture without a row is good; the test pictures are unlabelled.
    """

    name: ClassVar[str] = "severstal"
    about: ClassVar[About] = About(
        title="Severstal: Steel Defect Detection",
        licence="competition rules; accept on its page",
        licence_url="https://www.kaggle.com/c/severstal-steel-defect-detection/rules",
        citation="PAO Severstal: Severstal: Steel Defect Detection. Kaggle competition, 2019",
        homepage="https://www.kaggle.com/c/severstal-steel-defect-detection",
        instructions=(
            "accept the rules on https://www.kaggle.com/c/severstal-steel-defect-detection/rules, "
            "take the data there and unpack it into RAW, so that RAW holds train.csv, "
            "train_images and test_images"
        ),
    )

    def records(self, root: Path) -> list[Record]:
        """One Record per picture, training pictures first; a bad row makes its record flawed.

        A picture that only train.csv names gets a record too, which `inspection.py` refuses.
        Raises FileNotFoundError for a missing root or layout, ValueError for other columns.
        """
        root = Path(root)
        table = root / "train.csv"
        names = list_pictures(root / "train_images")
        if not names or not table.is_file():
            raise absent_layout(root, title=self.about.title, expected="train.csv and train_images")
        regions: dict[str, list[Region]] = {name: [] for name in names}
        flaws: dict[str, str] = {}
        for name, class_id, pixels in _read_rows(table):
            found = regions.setdefault(name, [])
            try:
                region = _region_of(class_id, pixels)
            except ValueError as error:
                flaws[name] = f"{error}; {REMEDY}"
                continue
            if region is not None:
                found.append(region)
        training = [
            self._record(f"train_images/{name}", tuple(regions[name]), flaw=flaws.get(name, ""))
            for name in sorted(regions)
        ]
        unlabelled = [
            self._record(f"test_images/{name}", (), split=UNLABELLED)
            for name in list_pictures(root / "test_images")
        ]
        return training + unlabelled

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """The four classes in order, whichever occur in records."""
        return Vocabulary((GOOD_WORDS, *((f"class {number}",) for number in CLASSES)))

    def _record(
        self, image: str, regions: tuple[Region, ...], *, flaw: str = "", split: str = ""
    ) -> Record:
        areas_px: dict[str, float] = {}
        for region in regions:
            areas_px[region.name] = areas_px.get(region.name, 0) + sum(region.numbers[1::2])
        defects = tuple(sorted(areas_px, key=lambda name: -areas_px[name]))
        if not is_below_root(image):
            flaw = f"{image!r} does not lie in the data folder; {REMEDY}"
        return Record(
            image=image,
            mask="",
            mask_values=(),
            defects=defects,
            caption=Caption("steel sheet", "flat steel", " and ".join(defects)),
            group=f"{self.name}_{image}",
            source=self.name,
            split=split,
            regions=regions,
            licence=self.about.licence,
            flaw=flaw,
        )


def _read_rows(path: Path) -> list[tuple[str, str, str]]:
    """Picture, class and runs of each row, of both forms of train.csv."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, strict=True)
            columns = tuple(reader.fieldnames or ())
            if columns not in (FINAL_COLUMNS, FIRST_COLUMNS):
                raise ValueError(f"its columns are {', '.join(columns)[:80]!r}")
            rows = [{name: (row[name] or "").strip() for name in columns} for row in reader]
    except (UnicodeDecodeError, csv.Error, ValueError) as error:
        raise ValueError(
            f"{path} is not readable ({error}): expected UTF-8 CSV with "
            f"{', '.join(FINAL_COLUMNS)} or {', '.join(FIRST_COLUMNS)}; {REMEDY}"
        ) from error
    if columns == FINAL_COLUMNS:
        return [(row["ImageId"], row["ClassId"], row["EncodedPixels"]) for row in rows]
    parted = [row["ImageId_ClassId"].rpartition("_") for row in rows]
    return [
        (name, class_id, row["EncodedPixels"])
        for (name, _, class_id), row in zip(parted, rows, strict=True)
    ]


def _region_of(class_id: str, pixels: str) -> Region | None:
    """The region of one row, None for a row without pixels; ValueError for a bad row."""
    if class_id not in CLASSES:
        raise ValueError(f"ClassId is {class_id[:20]!r}, expected 1, 2, 3 or 4")
    if pixels.lower() in NO_PIXELS:
        return None
    words = pixels.split()
    if len(words) % 2 or not all(word.isascii() and word.isdigit() for word in words):
        raise ValueError(
            f"EncodedPixels of class {class_id} is {pixels[:40]!r}, "
            "expected pairs of start and length"
        )
    numbers = [float(word) for word in words]
    numbers[0::2] = [start - 1 for start in numbers[0::2]]
    if min(numbers[0::2]) < 0:
        raise ValueError(f"EncodedPixels of class {class_id} starts at 0, expected 1 or more")
    return Region(f"class {class_id}", "runs", tuple(numbers))
