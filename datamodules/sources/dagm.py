"""DAGM 2007 (Wieler, Hahn, Hamprecht) in its original layout.

`Class<1..10>/{Train,Test}/<n>.PNG`, and under each `Label/`: `Labels.txt` and, for a defective
picture, `<n>_label.PNG`. A line of Labels.txt is tab-separated: number, 0 or 1, picture, 0, label.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from datamodules.about import About
from datamodules.captions import Caption
from datamodules.formats.listing import absent_layout, list_folders, list_pictures
from datamodules.manifest import Source
from datamodules.sample import GOOD, MaskValues, Record
from datamodules.vocabulary import Vocabulary

DEFECT = "defect"
SPLITS = {"Train": "train", "Test": "test"}


class Dagm(Source):
    """Ten computed textures, each with one kind of defect that was never named.

    All are called "defect" and the texture is the product: a made-up name per texture would teach
    words that nobody says. The masks are rough ellipses around the defect, wider than it is: they
    count as pixel masks, but a score at their border means little.
    """

    name: ClassVar[str] = "dagm"
    about: ClassVar[About] = About(
        title="DAGM 2007 (weakly supervised learning for industrial optical inspection)",
        licence="CC-BY-4.0",
        licence_url="https://zenodo.org/records/8086136",
        citation=(
            "M. Wieler, T. Hahn, F. A. Hamprecht: Weakly Supervised Learning for Industrial "
            "Optical Inspection. DAGM 2007, Zenodo record 8086136"
        ),
        homepage="https://zenodo.org/records/8086136",
        instructions=(
            "take Class1.zip to Class10.zip from https://zenodo.org/records/8086136 and unpack "
            "them into RAW, so that RAW holds Class1/Train, Class1/Train/Label, Class1/Test, ... "
            "Class10"
        ),
    )

    def records(self, root: Path) -> list[Record]:
        """One Record per picture, by texture and split; Class1/Class1 is read like Class1.

        A picture of which Labels.txt and the label files say different things is flawed. Raises
        FileNotFoundError for a missing root, layout or Labels.txt, ValueError for a bad line.
        """
        root = Path(root)
        numbers = [name.removeprefix("Class") for name in list_folders(root)]
        records = [
            record
            for number in sorted(int(text) for text in numbers if re.fullmatch("[0-9]+", text))
            for record in self._texture(root, number)
        ]
        if not records:
            raise absent_layout(
                root, title=self.about.title, expected="Class1..Class10 with Train and Test"
            )
        return records

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """The one unnamed type, whatever occurs in records."""
        return Vocabulary.from_names([DEFECT])

    def _texture(self, root: Path, number: int) -> Iterator[Record]:
        folder = f"Class{number}"
        if (root / folder / folder).is_dir():
            folder = f"{folder}/{folder}"
        for place, split in SPLITS.items():
            names = list_pictures(root / folder / place)
            if not names:
                continue
            labels = _read_labels(root / folder / place / "Label" / "Labels.txt")
            masks = {mask.lower(): mask for mask in list_pictures(root / folder / place / "Label")}
            for name in names:
                stem = Path(name).stem
                mask = masks.get(f"{stem}_label.png".lower(), "")
                yield self._record(
                    f"{folder}/{place}/{name}",
                    mask=f"{folder}/{place}/Label/{mask}" if mask else "",
                    is_defective=labels.get(stem),
                    product=f"texture {number}",
                    split=split,
                )

    def _record(
        self, image: str, *, mask: str, is_defective: bool | None, product: str, split: str
    ) -> Record:
        flaw = ""
        if is_defective is None:
            flaw = f"{image} has no line in Labels.txt: take the set again"
        elif is_defective != bool(mask):
            told, there = ("defective", "no") if is_defective else ("good", "a")
            flaw = f"{image} is {told} by Labels.txt but has {there} label file: take the set again"
        return Record(
            image=image,
            mask=mask,
            mask_values=(MaskValues(0, 0, GOOD), MaskValues(1, 255, DEFECT)) if mask else (),
            defects=(DEFECT,) if is_defective else (),
            caption=Caption(product=product, defect=DEFECT if is_defective else ""),
            group=f"{self.name}_{image}",
            source=self.name,
            split=split,
            licence=self.about.licence,
            flaw=flaw,
        )


def _read_labels(path: Path) -> dict[str, bool]:
    """Stem of each picture -> whether it is defective."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.name} is missing in {path.parent}: expected one in each Label folder; "
            "take the set again"
        )
    labels: dict[str, bool] = {}
    for number, line in enumerate(path.read_text("latin-1").splitlines(), start=1):
        fields = line.split()
        # The first line of the original is a lone 1.
        if len(fields) < 2:
            continue
        if len(fields) < 3 or fields[1] not in ("0", "1"):
            raise ValueError(
                f"{path} line {number} is {line[:60]!r}: expected number, 0 or 1, picture, ..., "
                "parted by tabs; take the set again"
            )
        labels[Path(fields[2]).stem] = fields[1] == "1"
    return labels
