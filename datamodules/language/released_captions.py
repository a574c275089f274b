"""The caption tables of the IMDD-1M release, read with all their quirks; captions stay verbatim.

What is wrong with the captions themselves is found in `caption_audit.py`; joining them to images
is a source's work (`sources/imdd1m_release.py`).
"""

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from datamodules.file_walk import walk

CAPTION_HEADERS = ("description", "diversified description")
GOOD_WORDS = ("good", "normal coding")
MATERIALS = ("monocrystalline", "polycrystalline")
CODES = {"SDI": "spot defect", "SPDI": "steel-pit defect"}
# Where the first word of the category is not what the images show.
PRODUCTS = {("MT_tiles", "tiles"): "magnetic tile"}

# Label ids, then the domain: "39-258fabric", "397_398silicon", "570gear", "543_551_ic_chip".
_FOLDER_NAME = re.compile(r"^(\d+)(?:[-_](\d+))?_?(\D.*)$")
# A table at the top of the release whose name says no domain; its folder is 266_353mvtec.
_TOP_LEVEL_DOMAINS = {"this_Processed_Categories_Data (2)": "mvtec"}


@dataclass(frozen=True, slots=True)
class ReleasedCaption:
    """One row of a caption table.

    label: the id of one combination of defects; category: its string, verbatim; defects: its
    defects without good, codes in words, empty also where no type is named (`is_good` is False).
    csv: the table's path below the root; row: counted from 1 below the header.
    """

    domain: str
    image_name: str
    label: int
    product: str
    defects: tuple[str, ...]
    caption: str
    encoding: str
    csv: str
    row: int
    category: str
    material: str
    is_good: bool


def read_release(root: Path) -> list[ReleasedCaption]:
    """All rows of all CSV files below `root`, file by file, in the order of rows.

    Raises FileNotFoundError without any CSV, ValueError for a header, cell or label that is not
    the release's.
    """
    paths = sorted(
        Path(root, name) for name in walk(Path(root)).files if name.lower().endswith(".csv")
    )
    if not paths:
        raise FileNotFoundError(
            f"caption release {root} holds no CSV file: expected the folder that holds "
            "5-10MT_tiles, 39-258fabric, ...; get it from github.com/NinaNeon/defect-detect"
        )
    return [row for path in paths for row in read_table(path, Path(root))]


def read_table(path: Path, root: Path) -> list[ReleasedCaption]:
    """The rows of one CSV of the release; `root` is where its folder names begin."""
    text, encoding = decode(path.read_bytes())
    name = path.relative_to(root).as_posix()
    domain = domain_of(name)
    lines = _lines(text, name)
    _, header = next(lines, (1, []))
    columns = _columns(header, name)
    rows: list[ReleasedCaption] = []
    for line, cells in lines:
        if not cells:
            continue  # a blank line
        if len(cells) != len(header):
            raise ValueError(
                f"{name} line {line} has {len(cells)} cells: expected {len(header)} as in the "
                "header; put cells that hold commas or line breaks in quotes"
            )
        image_name, label, category, caption = (cells[column] for column in columns)
        product, material, defects, is_good = split_category(category)
        for cell, column in ((image_name, "image name"), (product, "category")):
            if not cell.strip():
                raise ValueError(
                    f"{name} line {line} has no {column}: fill the cell or remove the row"
                )
        if not re.fullmatch(r"\s*[0-9]{1,9}\s*", label):
            raise ValueError(
                f"{name} line {line} has the label {label[:40]!r}: expected an integer such as 42"
            )
        rows.append(
            ReleasedCaption(
                domain=domain,
                image_name=image_name,
                label=int(label),
                product=PRODUCTS.get((domain, product), product),
                defects=defects,
                caption=caption,
                encoding=encoding,
                csv=name,
                row=len(rows) + 1,
                category=category,
                material=material,
                is_good=is_good,
            )
        )
    return rows


def decode(content: bytes) -> tuple[str, str]:
    """The text of a file and the encoding that it was read by: UTF-8, else cp950, else Latin-1."""
    for encoding in ("utf-8-sig", "cp950"):
        try:
            return content.decode(encoding), encoding.removesuffix("-sig")
        except UnicodeDecodeError:
            continue
    return content.decode("latin-1"), "latin-1"


def domain_of(csv_name: str) -> str:
    """The domain by the first folder of a table's path, or by its own name where it has none.

    Label ids in front and row counts at the end are cut off: "20-24wall1000/..." is "wall".
    """
    folder, has_folder, _ = csv_name.partition("/")
    if not has_folder:
        folder = folder[: -len(".csv")]
        folder = _TOP_LEVEL_DOMAINS.get(folder, folder.split(" - ")[0])
    match = _FOLDER_NAME.match(folder)
    return re.sub(r"\d{3,}$", "", match[3]) if match else folder


def split_category(category: str) -> tuple[str, str, tuple[str, ...], bool]:
    """Product, material, defects and whether it is good: "solar cell, monocrystalline, crack".

    A label that names only a product names no type: no defects and not good.
    """
    first, *others = (part.strip(" .") for part in category.split(","))
    product = re.sub(r"(?<=[a-z])Anomaly$", "", first)
    materials = [part for part in others if part.lower() in MATERIALS]
    named = [part for part in others if part and part not in materials]
    defects = tuple(CODES.get(part, part) for part in named if part.lower() not in GOOD_WORDS)
    return product, " ".join(materials), defects, bool(named) and not defects


def _lines(text: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Each row with the number of the line on which it starts."""
    # Strict, because an unclosed quote would make one long caption of all rows that follow.
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    line = 1
    try:
        for cells in reader:
            yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise ValueError(
            f"{name} line {line} is no CSV row ({error}): expected comma-separated text with "
            "quotes closed"
        ) from error


def _columns(header: list[str], name: str) -> list[int]:
    """Where image name, label, category and caption stand: by name, in any order and case."""
    names = [cell.strip().lower() for cell in header]
    captions = [cell for cell in names if cell in CAPTION_HEADERS]
    wanted = ["image name", "label", "categories", *captions]
    if len(captions) != 1 or any(names.count(cell) != 1 for cell in wanted):
        raise ValueError(
            f"{name} has the header {', '.join(header)[:80]!r}: expected the columns Image Name, "
            "label, Categories and Description (or Diversified Description), once each"
        )
    return [names.index(cell) for cell in wanted]
