"""KolektorSDD2 (Bozic, Tabernik, Skocaj 2021) in its original layout.

`{train,test}/<n>.png` with its ground truth `<n>_GT.png` beside it, all black for a good part.
The archive also holds a stray copy, "10301 (copy).png" with "10301_GT (copy).png", and pickled
splits (.pyb): those are left out and never opened.
"""

import re
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.formats.layout import absent_layout, glob_images
from datamodules.formats.records import UNNAMED_DEFECT, grey_values, make_record
from datamodules.manifest import Source
from datamodules.sample import Record


class KolektorSdd2(Source):
    """Surfaces of production parts; whether one is good is told by the pixels of its mask alone.

    Its defects (scratches, spots, surface imperfections) are not told apart.
    """

    name: ClassVar[str] = "kolektor_sdd2"
    types = ((UNNAMED_DEFECT,),)
    left_on_purpose = (("* (copy).png", "stray copy of the archive"),)

    def records(self, root: Path) -> list[Record]:
        """One Record per numbered image; `inspection.py` fills in whether it is defective.

        Raises FileNotFoundError for a missing root or layout.
        """
        found = [*glob_images(root, "train/*"), *glob_images(root, "test/*")]
        records = []
        for image in found:
            path = PurePosixPath(image)
            if not re.fullmatch(r"\d+\.png", path.name, re.IGNORECASE):
                continue
            records.append(
                make_record(
                    self,
                    image,
                    product="production part",
                    mask=f"{path.parent}/{path.stem}_GT.png",  # missing: refused by inspection
                    mask_values=grey_values(UNNAMED_DEFECT),
                    split=path.parent.name,
                )
            )
        if not records:
            raise absent_layout(root, self.about.title, "{train,test}/<n>.png and <n>_GT.png")
        return records
