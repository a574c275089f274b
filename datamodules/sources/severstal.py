"""Severstal: Steel Defect Detection (2019) in its original layout.

`train_images/<hex>.jpg`, `test_images/<hex>.jpg` and `train.csv` (ImageId, ClassId, EncodedPixels;
only what is defective). EncodedPixels are runs down the columns, counted from 1.
"""

from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.formats.layout import absent_layout, glob_images
from datamodules.formats.records import make_record
from datamodules.formats.tables import read_rows
from datamodules.manifest import Source
from datamodules.sample import UNLABELLED, Record, Region

CLASSES = ("1", "2", "3", "4")
COLUMNS = ("ImageId", "ClassId", "EncodedPixels")
REMEDY = "take train.csv again"


class Severstal(Source):
    """Images of a flat steel sheet, 1600 x 256 px, with up to four classes of defect in one.

    The owner never said what the classes are, and those who guessed do not agree (class 1 is
    "pitted surface" or "crack", class 3 "scratch" or "dent"): they stay "class 1" to "class 4".
    A training image without a row is good; the test images are unlabelled.
    """

    name: ClassVar[str] = "severstal"
    types = tuple((f"class {number}",) for number in CLASSES)

    def records(self, root: Path) -> list[Record]:
        """One Record per image, training images first; a bad row makes its record flawed.

        An image that only train.csv names gets a record too, which `inspection.py` refuses.
        Raises FileNotFoundError for a missing root or layout, ValueError for other columns.
        """
        images = glob_images(root, "train_images/*")
        if not images or not (root / "train.csv").is_file():
            raise absent_layout(root, self.about.title, "train.csv and train_images")
        regions: dict[str, list[Region]] = {PurePosixPath(image).name: [] for image in images}
        flaws: dict[str, str] = {}
        for row in read_rows(root / "train.csv", COLUMNS, remedy=REMEDY):
            found = regions.setdefault(row["ImageId"], [])
            try:
                found.append(_region_of(row["ClassId"], row["EncodedPixels"]))
            except ValueError as error:
                flaws[row["ImageId"]] = f"{error}; {REMEDY}"
        training = [
            self._record(f"train_images/{name}", regions[name], flaw=flaws.get(name, ""))
            for name in sorted(regions)
        ]
        tested = glob_images(root, "test_images/*")
        return training + [self._record(image, [], split=UNLABELLED) for image in tested]

    def _record(
        self, image: str, regions: list[Region], *, flaw: str = "", split: str = ""
    ) -> Record:
        return make_record(
            self,
            image,
            product="steel sheet",
            material="flat steel",
            regions=regions,
            split=split,
            flaw=flaw,
        )


def _region_of(class_id: str, pixels: str) -> Region:
    """The region of one row; ValueError for a bad one."""
    if class_id not in CLASSES:
        raise ValueError(f"ClassId is {class_id[:20]!r}, expected 1, 2, 3 or 4")
    words = pixels.split()
    if not words or len(words) % 2 or not all(word.isascii() and word.isdigit() for word in words):
        raise ValueError(
            f"EncodedPixels of class {class_id} is {pixels[:40]!r}, "
            "expected pairs of start and length"
        )
    numbers = [float(word) for word in words]
    numbers[0::2] = [start - 1 for start in numbers[0::2]]
    if min(numbers[0::2]) < 0:
        raise ValueError(f"EncodedPixels of class {class_id} starts at 0, expected 1 or more")
    return Region(f"class {class_id}", "runs", tuple(numbers))
