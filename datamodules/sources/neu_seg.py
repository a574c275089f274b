"""NEU-Seg, hot-rolled steel strip (Dong et al. 2020), in its original layout.

`images/{training,test}/NNNNNN.jpg` and index masks `annotations/{training,test}/NNNNNN.png`.
"""

from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.formats.layout import absent_layout, glob_images
from datamodules.formats.records import make_record
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record

SPLIT_FOLDERS = {"training": "train", "test": "test"}


class NeuSeg(Source):
    """Steel strip images with inclusion, patches and scratches; the published split is kept.

    Only the masks tell the types. The published split leaks: most test images lie turned in
    the training folder, and it is prepare's guard that finds them. Numbers occur in both folders.
    """

    name: ClassVar[str] = "neu_seg"
    # In the order of the mask ids.
    types = (
        ("inclusion", "embedded scale", "slag inclusion"),
        ("patches", "patch", "blotches"),
        ("scratches", "scratch", "score marks"),
    )
    causes: ClassVar[Mapping[str, str]] = {
        "inclusion": "slag rolled into the surface",
        "patches": "uneven oxide scale",
        "scratches": "contact with guides or rollers",
    }

    def records(self, root: Path) -> list[Record]:
        """One Record per image, training before test, split "train" or "test".

        Raises FileNotFoundError for a missing or empty folder.
        """
        names = [GOOD, *(words[0] for words in self.types)]
        values = tuple(MaskValues(grey, grey, name) for grey, name in enumerate(names))
        records = []
        for folder, split in SPLIT_FOLDERS.items():
            images = glob_images(root, f"images/{folder}/*.jpg")
            if not images or not (root / "annotations" / folder).is_dir():
                expected = f"images/{folder} and annotations/{folder}"
                raise absent_layout(root, self.about.title, expected)
            for stem in (PurePosixPath(image).stem for image in images):
                record = make_record(
                    self,
                    f"images/{folder}/{stem}.jpg",
                    product="steel strip",
                    material="hot-rolled steel",
                    mask=f"annotations/{folder}/{stem}.png",
                    mask_values=values,
                    split=split,
                    group=f"{folder}_{stem}",
                )
                records.append(record)
        return records
