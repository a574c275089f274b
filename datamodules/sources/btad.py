"""beanTech Anomaly Detection (Mishra et al. 2021) in its original layout.

`01..03/train/ok`, `01..03/test/{ok,ko}` and `01..03/ground_truth/ko/<stem>.<png|bmp>`; pictures
are .bmp in 01 and 03 and .png in 02, ground truths .png in 01 and 02 and .bmp in 03.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from datamodules.about import About, Download
from datamodules.captions import Caption
from datamodules.formats.listing import absent_layout, list_folders, list_pictures
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record
from datamodules.vocabulary import Vocabulary

ARCHIVE_FOLDER = "BTech_Dataset_transformed"
DEFECT = "defect"
SPLITS = ("train", "test")
LABELS = ("ok", "ko")


class Btad(Source):
    """Three industrial products with body and surface defects, whose types have no names.

    A ground truth is found by its stem, for its ending is often not that of its picture.
    """

    name: ClassVar[str] = "btad"
    about: ClassVar[About] = About(
        title="beanTech Anomaly Detection (BTAD)",
        licence="CC-BY-SA-4.0",
        licence_url="https://creativecommons.org/licenses/by-sa/4.0/",
        citation=(
            "P. Mishra, R. Verk, D. Fornasier, C. Piciarelli, G. L. Foresti: VT-ADL: A Vision "
            "Transformer Network for Image Anomaly Detection and Localization. IEEE ISIE 2021"
        ),
        homepage="https://github.com/pankajmishra000/VT-ADL",
        downloads=(
            Download(
                url="https://avires.dimi.uniud.it/papers/btad/btad.zip",
                sha256="461c9387e515bfed41ecaae07c50cf6b10def647b36c9e31d239ab2736b10d2a",
            ),
        ),
    )

    def records(self, root: Path) -> list[Record]:
        """One Record per picture; root is the folder of 01, 02, 03 or its parent.

        A defective picture without a ground truth becomes a flawed record. Raises
        FileNotFoundError for a missing root or layout.
        """
        root = Path(root)
        inner = f"{ARCHIVE_FOLDER}/" if (root / ARCHIVE_FOLDER).is_dir() else ""
        products = [name for name in list_folders(root / inner) if re.fullmatch("[0-9]+", name)]
        records = [record for name in products for record in self._product(root, f"{inner}{name}")]
        if not records:
            raise absent_layout(
                root, title=self.about.title, expected="01, 02, 03 with train/ok, test/{ok,ko}"
            )
        return records

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """The one unnamed type, whatever occurs in records."""
        return Vocabulary.from_names([DEFECT])

    def _product(self, root: Path, folder: str) -> Iterator[Record]:
        truths = {
            Path(name).stem: name for name in list_pictures(root / folder / "ground_truth/ko")
        }
        for split in SPLITS:
            for label in LABELS:
                for name in list_pictures(root / folder / split / label):
                    is_good = label == "ok"
                    truth = "" if is_good else truths.get(Path(name).stem, "")
                    yield self._record(
                        f"{folder}/{split}/{label}/{name}",
                        mask=f"{folder}/ground_truth/ko/{truth}" if truth else "",
                        is_good=is_good,
                        product=f"product {int(Path(folder).name)}",
                        split=split,
                    )

    def _record(self, image: str, *, mask: str, is_good: bool, product: str, split: str) -> Record:
        flaw = ""
        if not mask and not is_good:
            flaw = f"{image} has no picture of its name in ground_truth/ko: take the set again"
        return Record(
            image=image,
            mask=mask,
            mask_values=(MaskValues(0, 0, GOOD), MaskValues(1, 255, DEFECT)) if mask else (),
            defects=() if is_good else (DEFECT,),
            caption=Caption(product=product, defect="" if is_good else DEFECT),
            group=f"{self.name}_{image}",
            source=self.name,
            split=split,
            licence=self.about.licence,
            flaw=flaw,
        )
