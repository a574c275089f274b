"""PV-Multi-Defect, electroluminescence of photovoltaic panels (Li, Wang, Zhang 2023), original.

`JPEGImages/img<n>.jpg` with boxes in `Annotations/img<n>.xml`.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.formats.records import make_record
from datamodules.formats.voc import read_folders
from datamodules.manifest import Source
from datamodules.sample import UNLABELLED, Record


class PvMultiDefect(Source):
    """Grey crops of solar panels with boxes of five types.

    An image without XML, or with an XML that holds no object, is unlabelled: nobody said that
    it is free of defects. Identical images lie under several numbers with different boxes;
    they stay, as two annotators' opinions.
    """

    name: ClassVar[str] = "pv_multi_defect"
    label_suffixes = (".xml",)
    causes: ClassVar[Mapping[str, str]] = {
        "broken": "mechanical load or impact on the cells",
        "hot spot": "a shunted cell that takes up current",
        "black border": "contamination of the wafer's edge",
        "scratch": "contact during handling of the cells",
        "no electricity": "an interrupted or short-circuited cell string",
    }

    def records(self, root: Path) -> list[Record]:
        """One Record per image, by name; FileNotFoundError for a missing folder."""
        # The XML files write hot_spot, black_border, no_electricity.
        names = {name.replace(" ", "_"): name for name in self.causes}
        return [
            make_record(
                self,
                image.path,
                product="photovoltaic panel",
                material="crystalline silicon",
                regions=image.boxes,
                split="" if image.boxes else UNLABELLED,
                group=PurePosixPath(image.path).stem,
                flaw=image.flaw,
            )
            for image in read_folders(root, "JPEGImages", "Annotations", names=names)
        ]
