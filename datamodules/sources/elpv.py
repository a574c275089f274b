"""ELPV, electroluminescence of single solar cells (Deitsch et al. 2019), in its original layout.

`images/cell<n>.png` and `labels.csv`, whose columns path, probability and cell type are aligned
by blanks and have no header.
"""

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.about import About
from datamodules.captions import Caption
from datamodules.formats.listing import is_below_root, list_pictures
from datamodules.manifest import Source
from datamodules.sample import UNLABELLED, Record

DEFECT = "defective cell"
MATERIALS = {"mono": "monocrystalline silicon", "poly": "polycrystalline silicon"}


class Elpv(Source):
    """Solar cells with a rating of the whole picture: no place and no type of the defect.

    The number is how sure annotators were: 0 is good, from `min_probability` on a cell is
    defective, and what lies between counts as unlabelled, as do pictures without a line.
    """

    name: ClassVar[str] = "elpv"
    about: ClassVar[About] = About(
        title="ELPV (single solar cells, electroluminescence)",
        licence="CC-BY-NC-SA-4.0",
        licence_url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
        citation=(
            "S. Deitsch, V. Christlein, S. Berger, C. Buerhop-Lutz, A. Maier, F. Gallwitz, "
            "C. Riess: Automatic classification of defective photovoltaic module cells in "
            "electroluminescence images. Solar Energy 185 (2019) 455-468"
        ),
        homepage="https://github.com/zae-bayern/elpv-dataset",
        instructions=(
            "git clone https://github.com/zae-bayern/elpv-dataset CLONE, then in CLONE: "
            "git checkout 411fd729dad19511883306aa85e52f1962cba581; "
            "RAW is CLONE/src/elpv_dataset/data with labels.csv and images"
        ),
    )
    causes: ClassVar[Mapping[str, str]] = {DEFECT: "cracks, inactive areas or failed soldering"}

    def __init__(self, min_probability: float = 0.5) -> None:
        if not 0 < min_probability <= 1:
            raise ValueError(
                f"elpv min_probability is {min_probability}: expected above 0 and up to 1"
            )
        self.min_probability = min_probability

    def records(self, root: Path) -> list[Record]:
        """One Record per line of labels.csv in its order, then the pictures without a line.

        Raises FileNotFoundError for missing files, ValueError where labels.csv is no such text.
        """
        root = Path(root)
        records: dict[str, Record] = {}
        for number, line in enumerate(_lines_of(root), start=1):
            record = self._record(line.split(), place=f"{root / 'labels.csv'} line {number}")
            if record.image in records:
                record = self._unrated(record.image, flaw=f"{record.image} stands there twice")
            records[record.image] = record
        names = [f"images/{name}" for name in list_pictures(root / "images")]
        return [*records.values(), *(self._unrated(name) for name in names if name not in records)]

    def _record(self, fields: list[str], *, place: str) -> Record:
        image = fields[0]
        if len(fields) != 3 or not is_below_root(image):
            flaw = f"{place} holds {fields[:4]}, expected path, probability and cell type"
            return self._unrated(image, flaw=flaw)
        probability = _number_of(fields[1])
        if not 0 <= probability <= 1 or fields[2] not in MATERIALS:
            flaw = f"{place} holds {fields[1:]}, expected 0 to 1 and {' or '.join(MATERIALS)}"
            return self._unrated(image, flaw=flaw)
        is_defective = probability >= self.min_probability
        return self._rated(
            image,
            material=MATERIALS[fields[2]],
            defect=DEFECT if is_defective else "",
            split="" if is_defective or probability == 0 else UNLABELLED,
        )

    def _unrated(self, image: str, *, flaw: str = "") -> Record:
        return self._rated(image, split=UNLABELLED, flaw=flaw)

    def _rated(
        self, image: str, *, material: str = "", defect: str = "", split: str, flaw: str = ""
    ) -> Record:
        return Record(
            image=image,
            mask="",
            mask_values=(),
            defects=(defect,) if defect else (),
            caption=Caption("solar cell", material, defect),
            group=f"{self.name}_{PurePosixPath(image).stem}",
            source=self.name,
            split=split,
            licence=self.about.licence,
            flaw=flaw,
        )


def _lines_of(root: Path) -> list[str]:
    """The lines of labels.csv that hold anything."""
    path = root / "labels.csv"
    if not path.is_file() or not (root / "images").is_dir():
        raise FileNotFoundError(
            f"ELPV root {root} is not whole: expected labels.csv and the folder images in it; "
            f"get them from {Elpv.about.homepage}"
        )
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text in UTF-8: expected the set's own file") from error
    if not any(line.strip() for line in lines):
        raise ValueError(f"{path} is empty: expected lines 'images/cell0001.png 1.0 mono'")
    return [line for line in lines if line.strip()]


def _number_of(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
