"""beanTech Anomaly Detection (Mishra et al. 2021) in its original layout.

`01..03/train/ok`, `01..03/test/{ok,ko}` and `01..03/ground_truth/ko/<stem>.<png|bmp>`; images
are .bmp in 01 and 03 and .png in 02, ground truths .png in 01 and 02 and .bmp in 03.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.formats.layout import absent_layout, glob_folders, glob_images
from datamodules.formats.records import UNNAMED_DEFECT, grey_values, make_record
from datamodules.manifest import Source
from datamodules.sample import Record

ARCHIVE_FOLDER = "BTech_Dataset_transformed"
PLACES = ("train/ok", "train/ko", "test/ok", "test/ko")


class Btad(Source):
    """Three industrial products with body and surface defects, whose types have no names.

    A ground truth is found by its stem, for its ending is often not that of its image.
    """

    name: ClassVar[str] = "btad"
    types = ((UNNAMED_DEFECT,),)

    def records(self, root: Path) -> list[Record]:
        """One Record per image; root is the folder of 01, 02, 03 or its parent.

        Raises FileNotFoundError for a missing root or layout.
        """
        inner = f"{ARCHIVE_FOLDER}/" if (root / ARCHIVE_FOLDER).is_dir() else ""
        records = []
        for product in glob_folders(root, f"{inner}[0-9]*"):
            if not PurePosixPath(product).name.isdecimal():
                continue
            masks = glob_images(root, f"{product}/ground_truth/ko/*")
            masks_by_stem = {PurePosixPath(mask).stem: mask for mask in masks}
            for place in PLACES:
                images = glob_images(root, f"{product}/{place}/*")
                records += [self._record(image, masks_by_stem) for image in images]
        if not records:
            raise absent_layout(root, self.about.title, "01, 02, 03 with train/ok, test/{ok,ko}")
        return records

    def _record(self, image: str, masks_by_stem: Mapping[str, str]) -> Record:
        folder, split, label, _ = image.rsplit("/", 3)
        is_good, stem = label == "ok", PurePosixPath(image).stem
        # One that is not there is refused by inspection.
        mask = masks_by_stem.get(stem, f"{folder}/ground_truth/ko/{stem}.png")
        return make_record(
            self,
            image,
            product=f"product {int(PurePosixPath(folder).name)}",
            defects=() if is_good else (UNNAMED_DEFECT,),
            mask="" if is_good else mask,
            mask_values=grey_values(UNNAMED_DEFECT),
            split=split,
        )
