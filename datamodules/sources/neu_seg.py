"""NEU-Seg, hot-rolled steel strip (Dong et al. 2020), in its original layout.

`images/{training,test}/NNNNNN.jpg` and index masks `annotations/{training,test}/NNNNNN.png`.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from datamodules.about import About
from datamodules.captions import Caption
from datamodules.formats.listing import list_pictures
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record
from datamodules.vocabulary import GOOD_WORDS, Vocabulary

SPLIT_FOLDERS = {"training": "train", "test": "test"}
IMAGE_SUFFIX = ".jpg"
MASK_VALUES = (
    MaskValues(0, 0, GOOD),
    MaskValues(1, 1, "inclusion"),
    MaskValues(2, 2, "patches"),
    MaskValues(3, 3, "scratches"),
)
ENTRIES = (
    GOOD_WORDS,
    ("inclusion", "embedded scale", "slag inclusion"),
    ("patches", "patch", "blotches"),
    ("scratches", "scratch", "score marks"),
)


class NeuSeg(Source):
    """Steel strip pictures with inclusion, patches and scratches; the published split is kept.

    Only the masks tell the types. The published split leaks: most test pictures lie turned in
    the training folder, and it is prepare's guard that finds them. Numbers occur in both folders.
    """

    name: ClassVar[str] = "neu_seg"
    about: ClassVar[About] = About(
        title="NEU-Seg (hot-rolled steel strip, pixel masks)",
        licence="none stated; cite",
        licence_url="https://github.com/DHW-Master/NEU_Seg",
        citation=(
            "H. Dong, K. Song, Y. He, J. Xu, Y. Yan, Q. Meng: PGA-Net: Pyramid Feature Fusion and "
            "Global Context Attention Network for Automated Surface Defect Detection. IEEE Trans. "
            "Industrial Informatics 16 (2020) 7448-7458"
        ),
        homepage="https://github.com/DHW-Master/NEU_Seg",
        instructions=(
            "git clone https://github.com/DHW-Master/NEU_Seg RAW, then in RAW: "
            "git checkout da8cebedb292beca4d101db8c442d5706fac3bfe; "
            "RAW then holds images/{training,test} and annotations/{training,test}"
        ),
    )
    causes: ClassVar[Mapping[str, str]] = {
        "inclusion": "slag rolled into the surface",
        "patches": "uneven oxide scale",
        "scratches": "contact with guides or rollers",
    }

    def records(self, root: Path) -> list[Record]:
        """One Record per picture, training before test, split "train" or "test".

        Raises FileNotFoundError for a missing or empty folder.
        """
        return [
            self._record(stem, folder=folder)
            for folder in SPLIT_FOLDERS
            for stem in _find_stems(Path(root), folder)
        ]

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """Inclusion, patches, scratches with their synonyms, in the order of the mask ids."""
        return Vocabulary(ENTRIES)

    def _record(self, stem: str, *, folder: str) -> Record:
        return Record(
            image=f"images/{folder}/{stem}{IMAGE_SUFFIX}",
            mask=f"annotations/{folder}/{stem}.png",
            mask_values=MASK_VALUES,
            defects=(),
            caption=Caption("steel strip", "hot-rolled steel"),
            group=f"{self.name}_{folder}_{stem}",
            source=self.name,
            split=SPLIT_FOLDERS[folder],
            licence=self.about.licence,
        )


def _find_stems(root: Path, folder: str) -> list[str]:
    """The names of a folder's pictures without their ending, sorted."""
    images, masks = root / "images" / folder, root / "annotations" / folder
    names = list_pictures(images)
    stems = [name.removesuffix(IMAGE_SUFFIX) for name in names if name.endswith(IMAGE_SUFFIX)]
    if not stems or not masks.is_dir():
        raise FileNotFoundError(
            f"NEU-Seg folder {masks if stems else images} is missing or empty: expected root to "
            "hold images/training, images/test and annotations; get it from "
            f"{NeuSeg.about.homepage}"
        )
    return stems
