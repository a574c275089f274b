"""MVTec AD (Bergmann et al. 2021) in its original layout.

`<category>/train/good/<n>.png`, `<category>/test/<type>/<n>.png` and, for each defective one,
`<category>/ground_truth/<type>/<n>_mask.png`. Protocols on it are `splits.py`.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

from datamodules.about import About, Download
from datamodules.captions import Caption
from datamodules.formats.listing import absent_layout, list_folders, list_pictures
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record
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
    """Fifteen textures and objects: only good pictures to train, defects by type to test.

    The folder names the type as published, "combined" (several types at once) and toothbrush's
    "defective" too. Three categories are grey pictures. Other sets in this layout can be read.
    """

    name: ClassVar[str] = "mvtec_ad"
    about: ClassVar[About] = About(
        title="MVTec AD",
        licence="CC-BY-NC-SA-4.0",
        licence_url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
        citation=(
            "P. Bergmann, K. Batzner, M. Fauser, D. Sattlegger, C. Steger: The MVTec Anomaly "
            "Detection Dataset: A Comprehensive Real-World Dataset for Unsupervised Anomaly "
            "Detection. International Journal of Computer Vision 129 (2021) 1038-1059"
        ),
        homepage="https://www.mvtec.com/company/research/datasets/mvtec-ad",
        downloads=(
            Download(
                url=(
                    "https://www.mydrive.ch/shares/150996/b52ecdcbf521176e9db9c731f2304b27/"
                    "download/420938113-1629960298/mvtec_anomaly_detection.tar.xz"
                ),
                sha256="cf4313b13603bec67abb49ca959488f7eedce2a9f7795ec54446c649ac98cd3d",
                size_bytes=5_264_982_680,
            ),
        ),
        instructions=(
            "if the address has moved: take mvtec_anomaly_detection.tar.xz from the homepage and "
            "unpack it into RAW, so that RAW holds bottle, cable, ... zipper"
        ),
    )

    def __init__(self, categories: list[str] | None = None) -> None:
        self.categories = categories

    def records(self, root: Path) -> list[Record]:
        """One Record per picture, by category, split and type.

        A defective picture without a ground truth becomes a flawed record. Raises
        FileNotFoundError for a missing root or layout, ValueError for an unknown category.
        """
        root = Path(root)
        found = [name for name in list_folders(root) if (root / name / "train").is_dir()]
        if not found:
            raise absent_layout(
                root, title=self.about.title, expected="<category>/{train,test,ground_truth}"
            )
        wanted = found if self.categories is None else self.categories
        unknown = [name for name in wanted if name not in found]
        if unknown:
            raise ValueError(
                f"mvtec_ad category {unknown[0]!r} is not in {root}: "
                f"expected some of {', '.join(found)}"
            )
        records = [record for name in wanted for record in self._category(root, name)]
        if not records:
            raise absent_layout(
                root, title=self.about.title, expected="pictures in <category>/{train,test}/<type>"
            )
        return records

    def _category(self, root: Path, category: str) -> Iterator[Record]:
        for split in SPLITS:
            for kind in list_folders(root / category / split):
                truths = set(list_pictures(root / category / "ground_truth" / kind))
                for name in list_pictures(root / category / split / kind):
                    yield self._record(category, split, kind=kind, name=name, truths=truths)

    def _record(
        self, category: str, split: str, *, kind: str, name: str, truths: set[str]
    ) -> Record:
        defect = "" if kind == GOOD else normalise_name(kind)
        image = f"{category}/{split}/{kind}/{name}"
        mask_name = f"{Path(name).stem}_mask.png"
        mask, flaw = "", ""
        if defect and mask_name in truths:
            mask = f"{category}/ground_truth/{kind}/{mask_name}"
        elif defect:
            flaw = f"{image} has no {mask_name} in ground_truth/{kind}: take the set again"
        return Record(
            image=image,
            mask=mask,
            mask_values=(MaskValues(0, 0, GOOD), MaskValues(1, 255, defect)) if mask else (),
            defects=(defect,) if defect else (),
            caption=Caption(
                product=normalise_name(category),
                material=MATERIALS.get(category, ""),
                defect=defect,
            ),
            group=f"{self.name}_{image}",
            source=self.name,
            split=split,
            licence=self.about.licence,
            flaw=flaw,
        )
