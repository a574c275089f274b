"""DeepPCB, binarised scans of bare circuit boards (Tang et al. 2019), in its original layout.

`PCBData/group<G>/<G>/<id>_test.jpg` is the tested board, `<id>_temp.jpg` its aligned template
without defects, `PCBData/group<G>/<G>_not/<id>.txt` the boxes "x1 y1 x2 y2 type".
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from datamodules.formats.layout import absent_layout, glob_images
from datamodules.formats.records import make_record
from datamodules.formats.text_files import read_text
from datamodules.manifest import Source
from datamodules.sample import Record, Region

TESTED, TEMPLATE = "_test.jpg", "_temp.jpg"
LISTS = {"train": "trainval.txt", "test": "test.txt"}
LIST_LINE = re.compile(r"(group[^/\s]+)/[^/\s]+/([^/\s]+)\.jpg(?:\s.*)?")


class Deeppcb(Source):
    """Circuit boards with boxes of six types, and with `templates` their defect-free templates.

    A group folder holds crops of the same boards, so it is one group and prepare splits by it.
    `published_split` keeps the authors' trainval and test lists instead; they part crops of one
    board, and a group is then only a tested image with its template.
    """

    name: ClassVar[str] = "deeppcb"
    label_suffixes = (".txt",)
    left_on_purpose = (
        (f"*{TEMPLATE}", "template, not asked for"),
        ("PCBData/t*.txt", "split list"),
    )
    # In the order of the numbers in the text files, from 1; 0 would be background.
    types = (
        ("open", "open circuit", "broken trace"),
        ("short", "short circuit"),
        ("mousebite", "mouse bite"),
        ("spur", "copper spur"),
        ("spurious copper", "copper"),
        ("pin hole", "hole in the copper"),
    )
    causes: ClassVar[Mapping[str, str]] = {
        "open": "over-etching or a damaged resist",
        "short": "under-etching or a bridge in the resist",
        "mousebite": "local over-etching of a trace's edge",
        "spur": "incomplete etching at a trace's edge",
        "spurious copper": "copper left over by etching",
        "pin hole": "dust or a bubble under the resist",
    }

    def __init__(self, *, templates: bool = True, published_split: bool = False) -> None:
        self.endings = (TESTED, TEMPLATE) if templates else (TESTED,)
        self.published_split = published_split

    def records(self, root: Path) -> list[Record]:
        """One Record per tested image and per template, by group and name.

        Raises FileNotFoundError for a missing folder or a list that is asked for.
        """
        splits = _read_lists(root / "PCBData") if self.published_split else {}
        records = []
        for image in glob_images(root, "PCBData/*/*/*"):
            _, group, board, name = image.split("/")
            if board == group.removeprefix("group") and name.endswith(self.endings):
                records.append(self._record(root, image, splits=splits))
        if not records:
            raise absent_layout(root, self.about.title, f"PCBData/group<G>/<G>/<id>{TESTED}")
        return records

    def _record(self, root: Path, image: str, *, splits: Mapping[str, str]) -> Record:
        _, group, board, name = image.split("/")
        pair = name[: -len(TESTED)]
        boxes: tuple[Region, ...] = ()
        flaw = ""
        if name.endswith(TESTED):
            try:
                boxes = self.read_boxes(root / "PCBData" / group / f"{board}_not" / f"{pair}.txt")
            except OSError as error:
                flaw = f"the boxes of {image} cannot be read ({error.strerror}): expected a file"
            except ValueError as error:
                flaw = str(error)
        return make_record(
            self,
            image,
            product="printed circuit board",
            regions=boxes,
            split=splits.get(f"{group}/{pair}", ""),
            group=pair if self.published_split else group,
            flaw=flaw,
        )

    def read_boxes(self, path: Path) -> tuple[Region, ...]:
        """The boxes of one text file; fields may be parted by blanks, as they are, or by commas.

        Raises OSError for a file that is missing, ValueError for an empty one and for a bad line.
        """
        boxes = []
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            fields = [field for field in re.split(r"[,\s]+", line) if field]
            if not fields:
                continue
            try:
                left, top, right, bottom = (float(field) for field in fields[:-1])
                name = dict(enumerate(self.types, start=1))[int(fields[-1])][0]
            except (ValueError, KeyError) as error:
                raise ValueError(
                    f"{path} line {number} is {line[:40]!r}: expected x1 y1 x2 y2 and a type from "
                    "1 to 6; correct it"
                ) from error
            boxes.append(Region(name, "box", (left, top, right - left, bottom - top)))
        if not boxes:
            raise ValueError(f"{path} holds no box: expected the defects of a tested image")
        return tuple(boxes)


def _read_lists(folder: Path) -> dict[str, str]:
    """The split of every pair "group<G>/<id>"; the lists name <id>.jpg, which does not exist."""
    splits: dict[str, str] = {}
    for split, name in LISTS.items():
        if not (folder / name).is_file():
            raise FileNotFoundError(f"list {folder / name} is missing: expected it beside group<G>")
        for line in filter(str.strip, read_text(folder / name).splitlines()):
            match = LIST_LINE.fullmatch(line)
            if match is None:
                raise ValueError(
                    f"{folder / name} holds {line[:60]!r}: expected "
                    "'group<G>/<G>/<id>.jpg group<G>/<G>_not/<id>.txt'"
                )
            splits[f"{match[1]}/{match[2]}"] = split
    return splits
