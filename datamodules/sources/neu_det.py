"""NEU-DET, hot-rolled steel strip with boxes (Song and Yan 2013, He et al. 2020), as mirrored.

`IMAGES/<type>_<n>.jpg` with `ANNOTATIONS/<type>_<n>.xml`, and a small pair of folders
`Validation_Images`, `Validation_Annotations`. Boxes are loose frames around the defects.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.formats.records import dominant_first, make_record
from datamodules.formats.voc import VocImage, read_folders
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


class NeuDet(Source):
    """Steel strip images with boxes of six types; the 30 validation images are the test split.

    The type of the file name comes first, then the types of other boxes in the image.
    Identical images (patches_101 and patches_105) stay.
    """

    name: ClassVar[str] = "neu_det"
    label_suffixes = (".xml",)
    causes: ClassVar[Mapping[str, str]] = {
        "crazing": "thermal stress during rolling",
        "inclusion": "slag rolled into the surface",
        "patches": "uneven oxide scale",
        "pitted surface": "local corrosion or rolled-in particles that fell out",
        "rolled in scale": "mill scale pressed into the surface by the rolls",
        "scratches": "contact with guides or rollers",
    }

    def records(self, root: Path) -> list[Record]:
        """One Record per image, training before test, by name.

        Raises FileNotFoundError for a missing folder.
        """
        return [
            self._record(image, split=split)
            for split, (images, annotations) in FOLDERS.items()
            for image in read_folders(root, images, annotations, names=TYPES)
        ]

    def _record(self, image: VocImage, *, split: str) -> Record:
        stem = PurePosixPath(image.path).stem
        # "rolled-in_scale_7" holds an underscore of its own.
        kind, _, number = stem.rpartition("_")
        is_named = kind in TYPES and number.isdigit()
        flaw = image.flaw
        if not image.boxes:
            flaw = flaw or f"{image.path} has no box, expected one or more in its XML"
        if not is_named:
            flaw = flaw or f"{image.path} is not named <type>_<n>: expected {', '.join(TYPES)}"
        main = [TYPES[kind]] if is_named else []
        return make_record(
            self,
            image.path,
            product="steel strip",
            material="hot-rolled steel",
            defects=tuple(dict.fromkeys([*main, *dominant_first(image.boxes)])),
            regions=image.boxes,
            split=split,
            group=stem,
            flaw=flaw,
        )
