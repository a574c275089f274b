"""A CSV table of pictures, one row per picture or per box -> what is said of each picture.

Which files exist and what becomes a Record is the matter of `sources/csv.py`.
"""

import csv
import difflib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.formats.label_table import defect_name
from datamodules.formats.text_files import read_text
from datamodules.sample import Region

BOX_COLUMNS = ("left", "top", "width", "height")
# Said once for a picture: rows that repeat it may leave the cell empty.
PICTURE_COLUMNS = ("mask", "caption", "product", "material", "group", "split", "licence")
COLUMNS = ("image", "type", *PICTURE_COLUMNS, *BOX_COLUMNS)
UNNAMED_DEFECT = "defect"


@dataclass(slots=True)
class TablePicture:
    """All rows of one picture: cells holds PICTURE_COLUMNS, "" where nothing is said.

    types: of rows without a box, "" for good; flaw: why the rows are unusable.
    """

    image: str
    line: int
    types: list[str] = field(default_factory=list)
    boxes: list[Region] = field(default_factory=list)
    cells: dict[str, str] = field(default_factory=lambda: dict.fromkeys(PICTURE_COLUMNS, ""))
    flaw: str = ""


def read_table(path: Path) -> list[TablePicture]:
    """The pictures of a table in the order of their first rows.

    Columns are parted by ",", ";" or tabs, several types in a cell by ";". Raises ValueError for
    a file that is not UTF-8 or no CSV, and for a header without image or with unknown columns.
    """
    text = read_text(path)
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    pictures: dict[str, TablePicture] = {}
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        header = [name.strip().lower() for name in reader.fieldnames or ()]
        _check_header(path, header)
        reader.fieldnames = header
        for row in reader:
            _add(row, reader.line_num, path=path, pictures=pictures)
    except csv.Error as error:
        raise ValueError(f"{path} is no readable CSV ({error}): save it as UTF-8 CSV") from error
    if not pictures:
        raise ValueError(f"{path} has no rows below its header: expected one per picture")
    return list(pictures.values())


def _add(
    row: dict[str, str | None], line: int, *, path: Path, pictures: dict[str, TablePicture]
) -> None:
    """Hand a row to its picture; what is wrong with it becomes the picture's flaw."""
    cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
    image = cells["image"].replace("\\", "/")
    picture = pictures.setdefault(image, TablePicture(image, line))
    try:
        if None in row:
            raise ValueError("it has more cells than the header: quote what holds a comma")
        for name in PICTURE_COLUMNS:
            told = picture.cells[name]
            if cells[name] and told and cells[name] != told:
                raise ValueError(
                    f"{name} is {cells[name]!r}, an earlier row says {told!r}: expected one"
                )
            picture.cells[name] = told or cells[name]
        types = [defect_name(word) for word in cells["type"].split(";") if word.strip()]
        if any(cells[name] for name in BOX_COLUMNS):
            picture.boxes.append(_box_of(cells, types))
        else:
            picture.types += types
    except ValueError as error:
        picture.flaw = picture.flaw or f"{path} line {line}: {error}"


def _box_of(cells: dict[str, str], types: Sequence[str]) -> Region:
    texts = [cells[name] for name in BOX_COLUMNS]
    if len(types) > 1 or "" in types:
        raise ValueError(f"a box is of the types {cells['type']!r}, expected one defect")
    try:
        numbers = tuple(float(text) for text in texts)
    except ValueError as error:
        raise ValueError(
            f"{', '.join(BOX_COLUMNS)} are {texts}, expected four numbers in pixels"
        ) from error
    if not (all(abs(number) < float("inf") for number in numbers) and min(numbers[2:]) > 0):
        raise ValueError(f"the box is {texts}, expected finite numbers and a positive size")
    return Region(types[0] if types else UNNAMED_DEFECT, "box", numbers)


def _check_header(path: Path, header: Sequence[str]) -> None:
    if "image" not in header or len(set(header)) < len(header):
        raise ValueError(
            f"{path} has the columns {', '.join(header)[:80] or 'none'}: expected image, and each "
            "once; correct the first line"
        )
    for name in header:
        if name not in COLUMNS:
            nearest = difflib.get_close_matches(name, COLUMNS, n=1) or [", ".join(COLUMNS)]
            raise ValueError(
                f"{path} has the unknown column {name!r}: expected {nearest[0]}; rename or "
                "remove it"
            )
