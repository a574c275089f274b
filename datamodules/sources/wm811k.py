"""WM-811K wafer maps (Wu, Jang, Chen 2015) as one Parquet table, made from the published pickle.

A pickle runs what it holds when it is read, so it is converted once by who trusts it (CONVERSION).
The root then holds wm811k.parquet with the columns waferMap, lotName, trianTestLabel, failureType.
The maps are arrays, no files: they are drawn once, as PNGs of one pixel per die, into wafer_maps/
beside the table, with an index.csv of their labels.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datamodules.formats.layout import absent_layout
from datamodules.formats.records import make_record
from datamodules.manifest import Source
from datamodules.sample import UNLABELLED, Record
from datamodules.vocabulary import normalise_name
from datamodules.whole_files import whole

TABLE = "wm811k.parquet"
CONVERSION = (
    "import pandas; pandas.read_pickle('LSWMD.pkl')"
    ".map(lambda cell: getattr(cell, 'tolist', lambda: cell)())"
    ".to_parquet('wm811k.parquet')"
)
PATTERNS = ("center", "donut", "edge loc", "edge ring", "loc", "near full", "random", "scratch")
NO_PATTERN = "none"
SPLITS = {"training": "train", "test": "test", "": ""}
# The original column has this spelling; some copies correct it.
SPLIT_COLUMNS = ("trianTestLabel", "trainTestLabel")
MAPS_FOLDER = "wafer_maps"
INDEX_FILE = "index.csv"
INDEX_VERSION = "1"
MAPS_PER_FOLDER = 1000
# Outside the wafer, a good die, a failed die.
GREY_OF_DIE = np.array([0, 128, 255], dtype=np.uint8)


class Wm811k(Source):
    """Maps of good and failed dies, a word for the pattern of the failed ones, no masks.

    The pattern "none" is good; a map without a word is unlabelled, as four of five are. All
    wafers of a lot are one group, though the published split parts lots.
    """

    name: ClassVar[str] = "wm811k"
    types = tuple((name, f"{name.replace('loc', 'local')} failure pattern") for name in PATTERNS)

    def records(self, root: Path) -> list[Record]:
        """One Record per wafer in the order of the table; the maps are drawn if they are not yet.

        A map that is none, or a word that is unknown, makes its record flawed. Raises
        FileNotFoundError for a missing table, ValueError for a pickle, for a file that is no such
        table and for maps drawn of another one, OSError where the maps cannot be written.
        """
        root = Path(root)
        table, folder = root / TABLE, root / MAPS_FOLDER
        if not (folder / INDEX_FILE).is_file():
            if not table.is_file():
                pickled = next(root.glob("*.pkl"), None)
                if pickled is None:
                    raise absent_layout(root, self.about.title, TABLE)
                raise ValueError(
                    f"{pickled} is a pickle, which runs what it holds when it is read: expected "
                    f'{TABLE}; if you trust it, make that by python -c "{CONVERSION}"'
                )
            self._draw_maps(table, folder)
        return [self._record(*row) for row in _read_index(folder / INDEX_FILE, table)]

    def _draw_maps(self, table: Path, folder: Path) -> None:
        with whole(folder) as partial:
            partial.mkdir()
            # A lone surrogate in a name must not stop the whole table.
            with (partial / INDEX_FILE).open(
                "w", encoding="utf-8", errors="backslashreplace", newline=""
            ) as file:
                writer = csv.writer(file)
                writer.writerow((INDEX_VERSION, table.name, table.stat().st_size))
                for row, (dies, *words) in enumerate(_read_table(table)):
                    image = f"{row // MAPS_PER_FOLDER:04d}/{row:06d}.png"
                    writer.writerow((image, *words, _draw(dies, partial / image)))

    def _record(self, image: str, lot: str, split: str, pattern: str, flaw: str) -> Record:
        word = normalise_name(pattern)
        defect = "" if word == NO_PATTERN else word
        if defect and defect not in PATTERNS:
            expected = ", ".join((NO_PATTERN, *PATTERNS))
            flaw = f"pattern {pattern[:40]!r} of {image} is unknown: expected one of {expected}"
        if split.lower() not in SPLITS:
            flaw = f"split {split[:40]!r} of {image} is unknown: expected Training or Test"
        return make_record(
            self,
            f"{MAPS_FOLDER}/{image}",
            product="wafer map",
            material="silicon",
            defects=(defect,) if defect else (),
            split=SPLITS.get(split.lower(), "") if word else UNLABELLED,
            group=lot or image,
            flaw=flaw,
        )


def _draw(cell: object, path: Path) -> str:
    """Write the map of a cell as a PNG; what is wrong with it where it is none, else ""."""
    try:
        dies = np.array(cell)
    except ValueError:
        return f"wafer map {path.name} has rows of several lengths, expected rows of dies"
    if dies.ndim != 2 or not dies.size:
        shape = "x".join(map(str, dies.shape)) or type(cell).__name__
        return f"wafer map {path.name} is {shape}, expected rows and columns of dies"
    if dies.dtype.kind not in "buif" or not np.isin(dies, (0, 1, 2)).all():
        return f"wafer map {path.name} holds other values than 0, 1 and 2"
    path.parent.mkdir(exist_ok=True)
    # Encoded in memory first: cv2.imwrite only answers False on a full disk.
    path.write_bytes(cv2.imencode(".png", GREY_OF_DIE[dies.astype(np.uint8)])[1].tobytes())
    return ""


def _read_index(path: Path, table: Path) -> list[list[str]]:
    """The rows of index.csv; ValueError where it does not belong to the table beside it."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = list(csv.reader(file)) or [[]]
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"{path} is not readable ({error}): delete {path.parent} to have it drawn again"
        ) from error
    stale = table.is_file() and head[1:] != [table.name, str(table.stat().st_size)]
    if stale or head[:1] != [INDEX_VERSION] or any(len(row) != 5 for row in rows):
        raise ValueError(
            f"{path.parent} was drawn from another table than {table}: "
            "expected maps of this very file; delete that folder to have it drawn again"
        )
    return rows


def _read_table(table: Path) -> Iterator[tuple[object, str, str, str]]:
    """Dies, lot, split and pattern of each wafer; ValueError for what is no such table."""
    try:
        with pq.ParquetFile(table) as file:
            names = file.schema_arrow.names
            split = next((name for name in SPLIT_COLUMNS if name in names), SPLIT_COLUMNS[0])
            columns = ["waferMap", "lotName", split, "failureType"]
            missing = [name for name in columns if name not in names]
            if missing:
                raise ValueError(f"it has no column {missing[0]}")
            for batch in file.iter_batches(MAPS_PER_FOLDER, columns=columns):
                for row in batch.to_pylist():
                    dies, *words = (row[name] for name in columns)
                    yield dies, *map(_word, words)
    except (ValueError, OSError, pa.ArrowException) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(
            f"{table} is not readable ({reason}): expected waferMap, lotName, {SPLIT_COLUMNS[0]} "
            "and failureType, as CONVERSION in datamodules/sources/wm811k.py writes them"
        ) from error


def _word(cell: object) -> str:
    """The word in a cell, which may be boxed in lists; "" for an empty box or NaN."""
    while isinstance(cell, list):
        cell = cell[0] if cell else ""
    return "" if cell is None or cell != cell else str(cell).strip()
