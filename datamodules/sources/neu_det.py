"""NEU-DET, hot-rolled steel strip with boxes (Song and Yan 2013, He et al. 2020), as mirrored.

`IMAGES/<type>_<n>.jpg` with `ANNOTATIONS/<type>_<n>.xml`, and a small pair of folders
`Validation_Images`, `Validation_Annotations`. Boxes are loose frames around the defects.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.about import About
from datamodules.captions import Caption
from datamodules.formats.region_areas import dominant_first
from datamodules.formats.voc import VocPicture, read_folders
from datamodules.manifest import Source
from datamodules.sample import Record

FOLDERS = {
    "train": ("IMAGES", "ANNOTATIONS"),
    "test": ("Validation_Images", "Validation_Annotations"),
}
TYPES = {
    "crazing": "crazing",
    "inclusion": "inclusion",
    "patches": "patches",
    "pitted_surface": "pitted surface",
    "rolled-in_scale": "rolled in scale",
    "scratches": "scratches",
}
# The last number is the picture's; "rolled-in_scale" holds a hyphen and an underscore of its own.
FILE_NAME = re.compile(r"(?P<type>.+)_\d+")


class NeuDet(Source):
    """Steel strip pictures with boxes of six types; the 30 validation pictures are the test split.

    The type of the file name comes first, then the types of other boxes in the picture.
    Identical pictures (patches_101 and patches_105) stay.
    """

    name: ClassVar[str] = "neu_det"
    about: ClassVar[About] = About(
        title="NEU-DET (hot-rolled steel strip, boxes)",
        licence="none stated; cite",
        licence_url="https://github.com/siddhartamukherjee/NEU-DET-Steel-Surface-Defect-Detection",
        citation=(
            "Y. He, K. Song, Q. Meng, Y. Yan: An End-to-end Steel Surface Defect Detection "
            "Approach via Fusing Multiple Hierarchical Features. IEEE Trans. Instrumentation and "
            "Measurement 69 (2020) 1493-1504"
        ),
        homepage="https://github.com/siddhartamukherjee/NEU-DET-Steel-Surface-Defect-Detection",
        instructions=(
            "git clone "
            "https://github.com/siddhartamukherjee/NEU-DET-Steel-Surface-Defect-Detection RAW, "
            "then in RAW: git checkout 351bee21b56bbf97a1e1d18262bceb202eb7ef41; "
            "RAW then holds IMAGES, ANNOTATIONS, Validation_Images, Validation_Annotations"
        ),
    )
    causes: ClassVar[Mapping[str, str]] = {
        "crazing": "thermal stress during rolling",
        "inclusion": "slag rolled into the surface",
        "patches": "uneven oxide scale",
        "pitted surface": "local corrosion or rolled-in particles that fell out",
        "rolled in scale": "mill scale pressed into the surface by the rolls",
        "scratches": "contact with guides or rollers",
    }

    def records(self, root: Path) -> list[Record]:
        """One Record per picture, training before test, by name.

        Raises FileNotFoundError for a missing folder.
        """
        return [
            self._record(picture, split=split)
            for split, (pictures, annotations) in FOLDERS.items()
            for picture in read_folders(Path(root), pictures, annotations, names=TYPES)
        ]

    def _record(self, picture: VocPicture, *, split: str) -> Record:
        stem = PurePosixPath(picture.path).stem
        match = FILE_NAME.fullmatch(stem)
        flaw = picture.flaw
        if not picture.boxes:
            flaw = flaw or f"{picture.path} has no box, expected one or more in its XML"
        if match is None or match["type"] not in TYPES:
            flaw = flaw or f"{picture.path} is not named <type>_<n>: expected {', '.join(TYPES)}"
        main = [TYPES[match["type"]]] if match and match["type"] in TYPES else []
        defects = tuple(dict.fromkeys([*main, *dominant_first(picture.boxes)]))
        return Record(
            image=picture.path,
            mask="",
            mask_values=(),
            defects=defects,
            caption=Caption("steel strip", "hot-rolled steel", " and ".join(defects)),
            group=f"{self.name}_{stem}",
            source=self.name,
            split=split,
            regions=picture.boxes,
            licence=self.about.licence,
            flaw=flaw,
        )
