"""labels.csv of a user's own data: what each picture shows, `image,type[,caption][,group]`.

Where the pictures and masks lie is `sources/folder.py`.
"""

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from datamodules.vocabulary import normalise_name

FILE_NAME = "labels.csv"
GOOD_TYPES = ("good", "ok", "normal", "no defect")
REQUIRED_COLUMNS = ("image", "type")
OPTIONAL_COLUMNS = ("caption", "group")


@dataclass(frozen=True, slots=True)
class Label:
    """What a user says of one picture: `defect` is "" for good, the rest "" where not given."""

    defect: str
    caption: str = ""
    group: str = ""


def defect_name(text: str) -> str:
    """The normalised name of a type or of its folder; "" for good, ok, normal and no defect."""
    name = normalise_name(text)
    return "" if name in GOOD_TYPES else name


def read_labels(root: Path, images: Iterable[Path]) -> dict[Path, Label]:
    """The labels of `root`/labels.csv by picture; empty without that file.

    The column image holds paths relative to `root`/images. ValueError for a wrong header, a
    picture that is not among `images` or stands there twice, an empty type, a file not in UTF-8.
    """
    path = root / FILE_NAME
    if not path.is_file():
        return {}
    labels: dict[Path, Label] = {}
    known = set(images)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _check_header(path, reader.fieldnames or ())
            for row in reader:
                place = f"{path} line {reader.line_num}"
                if None in row:
                    raise ValueError(f"{place} has more cells than the header: quote its commas")
                image = root / "images" / (row["image"] or "").strip()
                if image not in known or image in labels:
                    problem = "stands there twice" if image in labels else "is not there"
                    raise ValueError(
                        f"{place}: picture {row['image']!r} {problem}; "
                        "expected one row per picture with its path below images/"
                    )
                labels[image] = _label_of(row, place)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no readable CSV ({error}): save it as UTF-8 CSV") from error
    return labels


def _label_of(row: dict[str, str | None], place: str) -> Label:
    defect = (row["type"] or "").strip()
    if not defect:
        raise ValueError(f"{place}: the type is empty; expected a defect's name or 'good'")
    caption, group = ((row.get(column) or "").strip() for column in OPTIONAL_COLUMNS)
    return Label(defect_name(defect), caption, group)


def _check_header(path: Path, columns: Sequence[str]) -> None:
    missing = [column for column in REQUIRED_COLUMNS if column not in columns]
    unknown = [column for column in columns if column not in REQUIRED_COLUMNS + OPTIONAL_COLUMNS]
    if missing or unknown or len(set(columns)) < len(columns):
        shown = ",".join(columns)[:80] or "none"
        raise ValueError(
            f"{path} has the columns {shown if shown.isprintable() else repr(shown)}: expected "
            "image,type and optionally caption,group, once each; correct the first line"
        )
