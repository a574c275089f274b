"""ELPV, electroluminescence of single solar cells (Deitsch et al. 2019), in its original layout.

`images/cell<n>.png` and `labels.csv`, whose columns path, probability and cell type are aligned
by blanks and have no header.
"""

import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.formats.layout import absent_layout, glob_images
from datamodules.formats.records import make_record
from datamodules.formats.text_files import read_text
from datamodules.manifest import Source
from datamodules.sample import UNLABELLED, Record

DEFECT = "defective cell"
MATERIALS = {"mono": "monocrystalline silicon", "poly": "polycrystalline silicon"}


class Elpv(Source):
    """Solar cells with a rating of the whole image: no place and no type of the defect.

    The number is how sure annotators were: 0 is good, from `min_probability` on a cell is
    defective, and what lies between counts as unlabelled, as do images without a line.
    """

    name: ClassVar[str] = "elpv"
    causes: ClassVar[Mapping[str, str]] = {DEFECT: "cracks, inactive areas or failed soldering"}

    def __init__(self, min_probability: float = 0.5) -> None:
        if not 0 < min_probability <= 1:
            raise ValueError(
                f"elpv min_probability is {min_probability}: expected above 0 and up to 1"
            )
        self.min_probability = min_probability

    def records(self, root: Path) -> list[Record]:
        """One Record per line of labels.csv in its order, then the images without a line.

        Raises FileNotFoundError for missing files, ValueError where labels.csv is no such text.
        """
        table = root / "labels.csv"
        if not table.is_file() or not (root / "images").is_dir():
            raise absent_layout(root, self.about.title, "labels.csv and images")
        lines = [line for line in read_text(table).splitlines() if line.strip()]
        if not lines:
            raise ValueError(f"{table} is empty: expected lines 'images/cell0001.png 1.0 mono'")
        records: dict[str, Record] = {}
        for number, line in enumerate(lines, start=1):
            record = self._record(line.split(), place=f"{table} line {number}")
            if record.image in records:
                record = replace(record, flaw=f"{record.image} stands there twice")
            records[record.image] = record
        unrated = [image for image in glob_images(root, "images/*") if image not in records]
        return [*records.values(), *(self._record([image]) for image in unrated)]

    def _record(self, fields: list[str], *, place: str = "") -> Record:
        """The record of a line, or with an image alone and no place of one without a line."""
        probability, flaw = math.nan, ""
        if place and len(fields) != 3:
            flaw = f"{place} holds {fields[:4]}, expected path, probability and cell type"
        elif place:
            with suppress(ValueError):
                probability = float(fields[1])
            if not 0 <= probability <= 1 or fields[2] not in MATERIALS:
                flaw = f"{place} holds {fields[1:]}, expected 0 to 1 and {' or '.join(MATERIALS)}"
        is_defective = probability >= self.min_probability
        return make_record(
            self,
            fields[0],
            product="solar cell",
            material=MATERIALS.get(fields[-1], ""),
            defects=(DEFECT,) if is_defective else (),
            split="" if is_defective or probability == 0 else UNLABELLED,
            group=PurePosixPath(fields[0]).stem,
            flaw=flaw,
        )
