"""MVTec AD (Bergmann et al. 2021) in its original layout.

`<category>/train/good/<n>.png`, `<category>/test/<type>/<n>.png` and, for each defective one,
`<category>/ground_truth/<type>/<n>_mask.png`. Protocols on it are `splits.py`.
"""

from collections.abc import Sequence
from glob import escape
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.formats.layout import absent_layout, glob_folders, glob_images
from datamodules.formats.records import grey_values, make_record
from datamodules.manifest import Source
from datamodules.sample import GOOD, Record
from datamodules.vocabulary import normalise_name

SPLITS = ("train", "test")
MATERIALS = {
    "bottle": "glass",
    "carpet": "textile",
    "grid": "metal",
    "metal_nut": "metal",
    "screw": "metal",
}


class MvtecAd(Source):
    """Fifteen textures and objects: only good images to train, defects by type to test.

    The folder names the type as published, "combined" (several types at once) and toothbrush's
    "defective" too. Three categories are grey images. Other sets in this layout can be read.
    """

    name: ClassVar[str] = "mvtec_ad"

    def __init__(self, categories: Sequence[str] | None = None) -> None:
        self.categories = categories
        if categories is not None:
            self.left_on_purpose = (("*", "of another category"),)

    def records(self, root: Path) -> list[Record]:
        """One Record per image, by category, split and type.

        Raises FileNotFoundError for a missing root or layout, ValueError for an unknown category.
        """
        found = [folder.partition("/")[0] for folder in glob_folders(root, "*/train")]
        unknown = [name for name in self.categories or () if name not in found]
        if found and unknown:
            raise ValueError(
                f"mvtec_ad category {unknown[0]!r} is not in {root}: "
                f"expected some of {', '.join(found)}"
            )
        records = []
        for category in found if self.categories is None else self.categories:
            for split in SPLITS:
                images = glob_images(root, f"{escape(category)}/{split}/*/*")
                records += [self._record(image) for image in images]
        if not records:
            raise absent_layout(root, self.about.title, "<category>/{train,test,ground_truth}")
        return records

    def _record(self, image: str) -> Record:
        category, split, kind, name = image.split("/")
        defect = "" if kind == GOOD else normalise_name(kind)
        # One that is not there is refused by inspection.
        mask = f"{category}/ground_truth/{kind}/{PurePosixPath(name).stem}_mask.png"
        return make_record(
            self,
            image,
            product=normalise_name(category),
            material=MATERIALS.get(category, ""),
            defects=(defect,) if defect else (),
            mask=mask if defect else "",
            mask_values=grey_values(defect),
            split=split,
        )
