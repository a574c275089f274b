"""DeepPCB, binarised scans of bare circuit boards (Tang et al. 2019), in its original layout.

`PCBData/group<G>/<G>/<id>_test.jpg` is the tested board, `<id>_temp.jpg` its aligned template
without defects, `PCBData/group<G>/<G>_not/<id>.txt` the boxes "x1 y1 x2 y2 type".
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

from datamodules.about import About
from datamodules.captions import Caption
from datamodules.formats.listing import list_folders, list_pictures
from datamodules.formats.region_areas import dominant_first
from datamodules.manifest import Source
from datamodules.sample import Record, Region
from datamodules.vocabulary import GOOD_WORDS, Vocabulary

FOLDER = "PCBData"
TESTED, TEMPLATE = "_test.jpg", "_temp.jpg"
LISTS = {"train": "trainval.txt", "test": "test.txt"}
ENTRIES = (
    GOOD_WORDS,
    ("open", "open circuit", "broken trace"),
    ("short", "short circuit"),
    ("mousebite", "mouse bite"),
    ("spur", "copper spur"),
    ("spurious copper", "copper"),
    ("pin hole", "hole in the copper"),
)
# The files' type numbers are the ids of ENTRIES; 0 would be background and never occurs.
TYPE_NUMBERS = {str(number): entry[0] for number, entry in enumerate(ENTRIES) if number}


class Deeppcb(Source):
    """Circuit boards with boxes of six types, and with `templates` their defect-free templates.

    A group folder holds crops of the same boards, so it is one group and prepare splits by it.
    `published_split` keeps the authors' trainval and test lists instead; they part crops of one
    board, and a group is then only a tested picture with its template.
    """

    name: ClassVar[str] = "deeppcb"
    about: ClassVar[About] = About(
        title="DeepPCB (bare printed circuit boards)",
        licence="MIT; research use only by its README",
        licence_url="https://github.com/tangsanli5201/DeepPCB/blob/master/LICENSE",
        citation=(
            "S. Tang, F. He, X. Huang, J. Yang: On-line PCB Defect Detector On A New PCB Defect "
            "Dataset. arXiv:1902.06197 (2019)"
        ),
        homepage="https://github.com/tangsanli5201/DeepPCB",
        instructions=(
            "git clone https://github.com/tangsanli5201/DeepPCB RAW, then in RAW: "
            "git checkout 08e98c4db5922613fb97176eb3d6497d48260cb1; RAW then holds PCBData"
        ),
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
        self.templates = templates
        self.published_split = published_split

    def records(self, root: Path) -> list[Record]:
        """One Record per tested picture and per template, by group and name.

        Raises FileNotFoundError for a missing folder or a list that is asked for.
        """
        folder = Path(root) / FOLDER
        splits = _read_lists(folder) if self.published_split else {}
        records = [
            self._record(folder, group, file_name, splits=splits)
            for group in list_folders(folder)
            for file_name in list_pictures(folder / group / group.removeprefix("group"))
            if file_name.endswith(TESTED) or (self.templates and file_name.endswith(TEMPLATE))
        ]
        if not records:
            raise FileNotFoundError(
                f"DeepPCB folder {folder} holds no group<G>/<G>/<id>{TESTED}: expected root to "
                f"hold PCBData as in {self.about.homepage}"
            )
        return records

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """The six types with synonyms in the order of their numbers, whichever occur."""
        return Vocabulary(ENTRIES)

    def _record(
        self, folder: Path, group: str, file_name: str, *, splits: Mapping[str, str]
    ) -> Record:
        board = group.removeprefix("group")
        pair = file_name[: -len(TESTED)]
        boxes: tuple[Region, ...] = ()
        flaw = ""
        if file_name.endswith(TESTED):
            try:
                boxes = read_boxes(folder / group / f"{board}_not" / f"{pair}.txt")
            except ValueError as error:
                flaw = str(error)
        defects = dominant_first(boxes)
        return Record(
            image=f"{FOLDER}/{group}/{board}/{file_name}",
            mask="",
            mask_values=(),
            defects=defects,
            caption=Caption("printed circuit board", "", " and ".join(defects)),
            group=f"{self.name}_{pair if self.published_split else group}",
            source=self.name,
            split=splits.get(f"{group}/{pair}", ""),
            regions=boxes,
            licence=self.about.licence,
            flaw=flaw,
        )


def read_boxes(path: Path) -> tuple[Region, ...]:
    """The boxes of one text file; fields may be parted by blanks, as they are, or by commas.

    Raises ValueError for a file that is missing or empty and for a bad line.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except OSError as error:
        raise ValueError(f"{path} cannot be read ({error.strerror}): expected its boxes") from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no text in UTF-8: expected lines 'x1 y1 x2 y2 type'"
        ) from error
    boxes = [
        _box_of(line, place=f"{path} line {number}")
        for number, line in enumerate(lines, start=1)
        if line.strip()
    ]
    if not boxes:
        raise ValueError(f"{path} holds no box: expected the defects of a tested picture")
    return tuple(boxes)


def _box_of(line: str, *, place: str) -> Region:
    fields = [field for field in re.split(r"[,\s]+", line) if field]
    if len(fields) != 5 or fields[4] not in TYPE_NUMBERS:
        raise ValueError(
            f"{place} is {line[:40]!r}: expected x1 y1 x2 y2 and a type from 1 to 6; correct it"
        )
    try:
        left, top, right, bottom = (float(field) for field in fields[:4])
    except ValueError as error:
        raise ValueError(f"{place} is {line[:40]!r}: expected four numbers; correct it") from error
    return Region(TYPE_NUMBERS[fields[4]], "box", (left, top, right - left, bottom - top))


def _read_lists(folder: Path) -> dict[str, str]:
    """The split of every pair "group<G>/<id>"; the lists name <id>.jpg, which does not exist."""
    splits: dict[str, str] = {}
    for split, name in LISTS.items():
        if not (folder / name).is_file():
            raise FileNotFoundError(f"list {folder / name} is missing: expected it beside group<G>")
        for line in (folder / name).read_text(encoding="utf-8-sig").splitlines():
            match = re.match(r"(group[^/\s]+)/[^/\s]+/([^/\s]+)\.jpg\s", line + " ")
            if match is None:
                if line.strip():
                    raise ValueError(
                        f"{folder / name} holds {line[:60]!r}: expected "
                        "'group<G>/<G>/<id>.jpg group<G>/<G>_not/<id>.txt'"
                    )
                continue
            splits[f"{match[1]}/{match[2]}"] = split
    return splits
