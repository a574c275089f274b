"""PV-Multi-Defect, electroluminescence of photovoltaic panels (Li, Wang, Zhang 2023), original.

`JPEGImages/img<n>.jpg` with boxes in `Annotations/img<n>.xml`.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.about import About
from datamodules.captions import Caption
from datamodules.formats.region_areas import dominant_first
from datamodules.formats.voc import VocPicture, read_folders
from datamodules.manifest import Source
from datamodules.sample import UNLABELLED, Record

TYPES = {
    "broken": "broken",
    "hot_spot": "hot spot",
    "black_border": "black border",
    "scratch": "scratch",
    "no_electricity": "no electricity",
}


class PvMultiDefect(Source):
    """Grey crops of solar panels with boxes of five types.

    A picture without XML, or with an XML that holds no object, is unlabelled: nobody said that
    it is free of defects. Identical pictures lie under several numbers with different boxes;
    they stay, as two annotators' opinions.
    """

    name: ClassVar[str] = "pv_multi_defect"
    about: ClassVar[About] = About(
        title="PV-Multi-Defect (photovoltaic panels, electroluminescence)",
        licence="none stated; cite",
        licence_url="https://github.com/CCNUZFW/PV-Multi-Defect",
        citation=(
            "L. Li, Z. Wang, T. Zhang: GBH-YOLOv5: Ghost Convolution with BottleneckCSP and Tiny "
            "Target Prediction Head Incorporating YOLOv5 for PV Panel Defect Detection. "
            "Electronics 12 (2023) 561"
        ),
        homepage="https://github.com/CCNUZFW/PV-Multi-Defect",
        instructions=(
            "git clone https://github.com/CCNUZFW/PV-Multi-Defect RAW, then in RAW: "
            "git checkout 2c4df0c1477032d6b0dd9372a517cdbfd6a09e09; "
            "RAW then holds JPEGImages and Annotations"
        ),
    )
    causes: ClassVar[Mapping[str, str]] = {
        "broken": "mechanical load or impact on the cells",
        "hot spot": "a shunted cell that takes up current",
        "black border": "contamination of the wafer's edge",
        "scratch": "contact during handling of the cells",
        "no electricity": "an interrupted or short-circuited cell string",
    }

    def records(self, root: Path) -> list[Record]:
        """One Record per picture, by name.

        Raises FileNotFoundError for a missing folder.
        """
        pictures = read_folders(Path(root), "JPEGImages", "Annotations", names=TYPES)
        return [self._record(picture) for picture in pictures]

    def _record(self, picture: VocPicture) -> Record:
        defects = dominant_first(picture.boxes)
        return Record(
            image=picture.path,
            mask="",
            mask_values=(),
            defects=defects,
            caption=Caption("photovoltaic panel", "crystalline silicon", " and ".join(defects)),
            group=f"{self.name}_{PurePosixPath(picture.path).stem}",
            source=self.name,
            split="" if picture.boxes else UNLABELLED,
            regions=picture.boxes,
            licence=self.about.licence,
            flaw=picture.flaw,
        )
