"""DAGM 2007 (Wieler, Hahn, Hamprecht) in its original layout.

`Class<1..10>/{Train,Test}/<n>.PNG`, and under each `Label/`: `Labels.txt` and, for a defective
image, `<n>_label.PNG`. A line of Labels.txt is tab-separated: number, 0 or 1, image, 0, label.
"""

import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import ClassVar

from datamodules.formats.layout import absent_layout, glob_folders, glob_images
from datamodules.formats.records import UNNAMED_DEFECT, grey_values, make_record
from datamodules.formats.text_files import read_text
from datamodules.manifest import Source
from datamodules.sample import Record


class Dagm(Source):
    """Ten computed textures, each with one kind of defect that was never named.

    All are called "defect" and the texture is the product: a made-up name per texture would teach
    words that nobody says. The masks are rough ellipses around the defect, wider than it is: they
    count as pixel masks, but a score at their border means little.
    """

    name: ClassVar[str] = "dagm"
    types = ((UNNAMED_DEFECT,),)

    def records(self, root: Path) -> list[Record]:
        """One Record per image, by texture and split; Class1/Class1 is read like Class1.

        An image of which Labels.txt and the label files say different things is flawed. Raises
        FileNotFoundError for a missing root, layout or Labels.txt, ValueError for a bad line.
        """
        names = [name for name in glob_folders(root, "Class*") if re.fullmatch("Class[0-9]+", name)]
        records = []
        for name in sorted(names, key=lambda name: int(name.removeprefix("Class"))):
            folder = f"{name}/{name}" if (root / name / name).is_dir() else name
            for place in ("Train", "Test"):
                images = glob_images(root, f"{folder}/{place}/*")
                label_folder = f"{folder}/{place}/Label"
                labels = _read_labels(root / label_folder / "Labels.txt") if images else {}
                masks = {path.lower(): path for path in glob_images(root, f"{label_folder}/*")}
                records += [self._record(image, labels, masks) for image in images]
        if not records:
            raise absent_layout(root, self.about.title, "Class1..Class10 with Train and Test")
        return records

    def _record(self, image: str, labels: Mapping[str, bool], masks: Mapping[str, str]) -> Record:
        folder, stem = image.rpartition("/")[0], PurePosixPath(image).stem
        mask = masks.get(f"{folder}/Label/{stem}_label.png".lower(), "")
        is_defective = labels.get(stem)
        flaw = ""
        if is_defective is None:
            flaw = f"{image} has no line in Labels.txt: take the set again"
        elif is_defective != bool(mask):
            said, there = ("defective", "no") if is_defective else ("good", "a")
            flaw = f"{image} is {said} by Labels.txt but has {there} label file: take the set again"
        return make_record(
            self,
            image,
            product=image.partition("/")[0].replace("Class", "texture "),
            defects=(UNNAMED_DEFECT,) if is_defective else (),
            mask=mask,
            mask_values=grey_values(UNNAMED_DEFECT),
            split=folder.rpartition("/")[2].lower(),
            flaw=flaw,
        )


def _read_labels(path: Path) -> dict[str, bool]:
    """Stem of each image -> whether it is defective."""
    if not path.is_file():
        raise FileNotFoundError(
            f"{path.name} is missing in {path.parent}: expected one in each Label folder; "
            "take the set again"
        )
    labels: dict[str, bool] = {}
    for number, line in enumerate(read_text(path, "latin-1").splitlines(), start=1):
        fields = line.split()
        # The first line of the original is a lone 1.
        if len(fields) < 2:
            continue
        if len(fields) < 3 or fields[1] not in ("0", "1"):
            raise ValueError(
                f"{path} line {number} is {line[:60]!r}: expected number, 0 or 1, image, ..., "
                "parted by tabs; take the set again"
            )
        labels[PurePosixPath(fields[2]).stem] = fields[1] == "1"
    return labels
