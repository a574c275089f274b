"""WM-811K wafer maps (Wu, Jang, Chen 2015) as one Parquet table, made from the published pickle.

A pickle runs what it holds when it is read, so it is converted once by who trusts it (CONVERSION).
The root then holds wm811k.parquet with the columns waferMap, lotName, trianTestLabel, failureType.
The maps are arrays, no files: they are drawn once, as PNGs of one pixel per die, into wafer_maps/
beside the table.
"""

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
SPLIT_COLUMN = "trianTestLabel"  # as the original spells it
MAPS_FOLDER = "wafer_maps"
STAMP_FILE = "table_bytes.txt"
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
        table, folder = root / TABLE, root / MAPS_FOLDER
        if not table.is_file():
            pickled = next(root.glob("*.pkl"), None)
            if pickled is None:
                raise absent_layout(root, self.about.title, TABLE)
            raise ValueError(
                f"{pickled} is a pickle, which runs what it holds when it is read: expected "
                f'{TABLE}; if you trust it, make that by python -c "{CONVERSION}"'
            )
        table_size, stamp = str(table.stat().st_size), folder / STAMP_FILE
        if not folder.is_dir():
            with whole(folder) as partial:
                for row, (dies,) in enumerate(_read_table(table, "waferMap")):
                    _draw(dies, partial / _file_name(row))
                (partial / STAMP_FILE).write_text(table_size)
        if not stamp.is_file() or stamp.read_text() != table_size:
            raise ValueError(
                f"{folder} was drawn from another table than {table}: expected maps of this very "
                "file; delete that folder to have it drawn again"
            )
        rows = _read_table(table, "lotName", SPLIT_COLUMN, "failureType")
        return [self._record(folder, row, *map(_word, cells)) for row, cells in enumerate(rows)]

    def _record(self, folder: Path, row: int, lot: str, split: str, pattern: str) -> Record:
        image = _file_name(row)
        word = normalise_name(pattern)
        defect = "" if word == NO_PATTERN else word
        flaw = ""
        if not (folder / image).is_file():
            flaw = f"wafer map {row} is no table of dies: expected rows and columns of 0, 1 and 2"
        elif defect and defect not in PATTERNS:
            expected = ", ".join((NO_PATTERN, *PATTERNS))
            flaw = f"pattern {pattern[:40]!r} of {image} is unknown: expected one of {expected}"
        elif split.lower() not in SPLITS:
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


def _file_name(row: int) -> str:
    return f"{row // MAPS_PER_FOLDER:04d}/{row:06d}.png"


def _draw(cell: object, path: Path) -> None:
    """Write the map of a cell as a PNG, nothing where it is none."""
    try:
        dies = np.array(cell)
    except ValueError:  # rows of several lengths
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    if (
        dies.ndim == 2
        and dies.size
        and dies.dtype.kind in "buif"
        and np.isin(dies, (0, 1, 2)).all()
    ):
        # Encoded in memory first: cv2.imwrite only answers False on a full disk.
        path.write_bytes(cv2.imencode(".png", GREY_OF_DIE[dies.astype(np.uint8)])[1].tobytes())


def _read_table(table: Path, *columns: str) -> Iterator[list[object]]:
    """The cells of these columns, row by row; ValueError for what is no such table."""
    try:
        with pq.ParquetFile(table) as file:
            names = file.schema_arrow.names
            if SPLIT_COLUMN not in names:  # some copies correct its spelling
                columns = tuple(name.replace("trian", "train") for name in columns)
            missing = [name for name in columns if name not in names]
            if missing:
                raise ValueError(f"it has no column {missing[0]}")
            for batch in file.iter_batches(MAPS_PER_FOLDER, columns=list(columns)):
                for row in batch.to_pylist():
                    yield [row[name] for name in columns]
    except (ValueError, OSError, pa.ArrowException) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(
            f"{table} is not readable ({reason}): expected waferMap, lotName, {SPLIT_COLUMN} and "
            "failureType, as CONVERSION in datamodules/sources/wm811k.py writes them"
        ) from error


def _word(cell: object) -> str:
    """The word in a cell, which may be boxed in lists; "" for an empty box or NaN."""
    while isinstance(cell, list):
        cell = cell[0] if cell else ""
    return "" if cell is None or cell != cell else str(cell).strip()
