"""KolektorSDD2 (Bozic, Tabernik, Skocaj 2021) in its original layout.

`{train,test}/<n>.png` with its ground truth `<n>_GT.png` beside it, all black for a good part.
The archive also holds a stray copy, "10301 (copy).png" with "10301_GT (copy).png", and pickled
splits (.pyb): those are left out and never opened.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from datamodules.about import About, Download
from datamodules.captions import Caption
from datamodules.formats.listing import absent_layout, list_pictures
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record
from datamodules.vocabulary import Vocabulary

DEFECT = "defect"
SPLITS = ("train", "test")
PICTURE = re.compile(r"(?P<number>\d+)\.png", re.IGNORECASE)
MASK_VALUES = (MaskValues(0, 0, GOOD), MaskValues(1, 255, DEFECT))


class KolektorSdd2(Source):
    """Surfaces of production parts; whether one is good is told by the pixels of its mask alone.

    Its defects (scratches, spots, surface imperfections) are not told apart.
    """

    name: ClassVar[str] = "kolektor_sdd2"
    about: ClassVar[About] = About(
        title="KolektorSDD2",
        licence="CC-BY-NC-SA-4.0",
        licence_url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
        citation=(
            "J. Bozic, D. Tabernik, D. Skocaj: Mixed supervision for surface-defect detection: "
            "from weakly to fully supervised learning. Computers in Industry 129 (2021) 103459"
        ),
        homepage="https://www.vicos.si/resources/kolektorsdd2/",
        downloads=(
            Download(
                url="https://data.vicos.si/datasets/KSDD/KolektorSDD2.zip",
                sha256="edcdb486809b24f1d17b785e30c52fafc5999554dd5fe18ddf77b61ceb6f36a8",
                size_bytes=853_126_555,
            ),
        ),
    )

    def records(self, root: Path) -> list[Record]:
        """One Record per numbered picture; `inspection.py` fills in whether it is defective.

        A picture without a ground truth becomes a flawed record. Raises FileNotFoundError for a
        missing root or layout.
        """
        root = Path(root)
        records = [record for split in SPLITS for record in self._split(root, split)]
        if not records:
            raise absent_layout(
                root, title=self.about.title, expected="{train,test}/<n>.png and <n>_GT.png"
            )
        return records

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """The one unnamed type, whatever occurs in records."""
        return Vocabulary.from_names([DEFECT])

    def _split(self, root: Path, split: str) -> Iterator[Record]:
        names = list_pictures(root / split)
        present = {name.lower(): name for name in names}
        for name in names:
            match = PICTURE.fullmatch(name)
            if match is None:
                continue
            image = f"{split}/{name}"
            truth = present.get(f"{match['number']}_gt.png")
            yield Record(
                image=image,
                mask=f"{split}/{truth}" if truth else "",
                mask_values=MASK_VALUES if truth else (),
                defects=(),
                caption=Caption(product="production part"),
                group=f"{self.name}_{image}",
                source=self.name,
                split=split,
                licence=self.about.licence,
                flaw=""
                if truth
                else f"{image} has no {match['number']}_GT.png: take the set again",
            )
