"""CSV tables: labels.csv and records.csv of a user's own data, and the rows of any other.

Which files exist and what becomes a Record is the matter of the sources.
"""

import csv
import difflib
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from datamodules.formats.records import UNNAMED_DEFECT
from datamodules.formats.text_files import read_text
from datamodules.sample import Region
from datamodules.vocabulary import CLASS_MARK, defect_name

BOX_COLUMNS = ("left", "top", "width", "height")
# Said once for an image: rows that repeat it may leave the cell empty.
IMAGE_COLUMNS = ("mask", "caption", "product", "material", "group", "split", "licence")
COLUMNS = ("image", "type", *IMAGE_COLUMNS, *BOX_COLUMNS)


def read_rows(path: Path, columns: Sequence[str], *, remedy: str) -> list[dict[str, str]]:
    """These columns of a public set's CSV, row by row, blanks stripped.

    Raises FileNotFoundError where it is missing, ValueError for a file that lacks one of them, or
    that is no CSV in UTF-8.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: {remedy}")
    try:
        reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
        missing = [name for name in columns if name not in (reader.fieldnames or ())]
        if missing:
            raise ValueError(f"it has no column {missing[0]!r}")
        return [{name: (row[name] or "").strip() for name in columns} for row in reader]
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"{path} is not readable ({error}): expected UTF-8 CSV with {', '.join(columns)}; "
            f"{remedy}"
        ) from error


@dataclass(slots=True)
class TableImage:
    """All rows of one image: cells holds IMAGE_COLUMNS, "" where nothing is said.

    types: of rows without a box, as they were typed; flaw: why the rows are unusable.
    """

    image: str
    line: int
    types: list[str] = field(default_factory=list)
    boxes: list[Region] = field(default_factory=list)
    cells: dict[str, str] = field(default_factory=lambda: dict.fromkeys(IMAGE_COLUMNS, ""))
    flaw: str = ""


def read_table(path: Path, columns: Sequence[str] = COLUMNS) -> list[TableImage]:
    """The images of a user's table in the order of their first rows; columns: what it may have.

    Columns are parted by ",", ";" or tabs, several types in a cell by ";". Raises ValueError for
    a file that is not UTF-8 or no CSV, and for a header without image or with unknown columns.
    """
    text = read_text(path)
    first_line = text.partition("\n")[0]
    delimiter = max(",;\t", key=first_line.count)
    images: dict[str, TableImage] = {}
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        header = [name.strip().lower() for name in reader.fieldnames or ()]
        _check_header(path, header, columns)
        reader.fieldnames = header
        for row in reader:
            name = (row.get("image") or "").strip().replace("\\", "/")
            image = images.setdefault(name, TableImage(name, reader.line_num))
            try:
                _add(row, image)
            except ValueError as error:
                image.flaw = image.flaw or f"{path} line {reader.line_num}: {error}"
    except csv.Error as error:
        raise ValueError(f"{path} is no readable CSV ({error}): save it as UTF-8 CSV") from error
    if not images:
        raise ValueError(f"{path} has no rows below its header: expected one per image")
    return list(images.values())


def _add(row: dict[str, str | None], image: TableImage) -> None:
    """Hand a row to its image; ValueError for what is wrong with it."""
    if None in row:
        raise ValueError("it has more cells than the header: quote what holds a comma")
    cells = {name: (row.get(name) or "").strip() for name in COLUMNS}
    for name in IMAGE_COLUMNS:
        earlier = image.cells[name]
        if cells[name] and earlier and cells[name] != earlier:
            raise ValueError(
                f"{name} is {cells[name]!r}, an earlier row says {earlier!r}: expected one"
            )
        image.cells[name] = earlier or cells[name]
    types = [word for word in CLASS_MARK.split(cells["type"]) if word.strip()]
    names = [defect_name(word) for word in types]
    if not any(cells[name] for name in BOX_COLUMNS):
        image.types += types
        return
    texts = [cells[name] for name in BOX_COLUMNS]
    if len(types) > 1 or "" in names:
        raise ValueError(f"a box is of the types {cells['type']!r}, expected one defect")
    try:
        numbers = tuple(float(text) for text in texts)
    except ValueError as error:
        raise ValueError(
            f"{', '.join(BOX_COLUMNS)} are {texts}, expected four numbers in pixels"
        ) from error
    if not (all(abs(number) < float("inf") for number in numbers) and min(numbers[2:]) > 0):
        raise ValueError(f"the box is {texts}, expected finite numbers and a positive size")
    image.boxes.append(Region(types[0] if types else UNNAMED_DEFECT, "box", numbers))


def _check_header(path: Path, header: Sequence[str], columns: Sequence[str]) -> None:
    if "image" not in header or len(set(header)) < len(header):
        raise ValueError(
            f"{path} has the columns {', '.join(header)[:80]!r}: expected image, and each once; "
            "correct the first line"
        )
    for name in header:
        if name not in columns:
            nearest = difflib.get_close_matches(name, columns, n=1) or [", ".join(columns)]
            raise ValueError(
                f"{path} has the unknown column {name!r}: expected {nearest[0]}; rename or "
                "remove it"
            )
