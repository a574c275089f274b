"""WM-811K wafer maps (Wu, Jang, Chen 2015): a pickled pandas table, read without running it.

The root holds LSWMD.pkl or WM811K.pkl (columns waferMap, lotName, trianTestLabel, failureType), or
wm811k.npz as CONVERSION makes it. The maps are arrays, no files: they are drawn once, as PNGs of
one pixel per die, into wafer_maps/ beside the table, with an index.csv of their labels.
"""

import csv
import os
import shutil
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np

from datamodules.about import About
from datamodules.captions import Caption
from datamodules.formats.listing import absent_layout
from datamodules.formats.pickled_table import read_pickled_columns
from datamodules.manifest import Source
from datamodules.sample import UNLABELLED, Record
from datamodules.vocabulary import GOOD_WORDS, Vocabulary, normalise_name

TABLES = ("LSWMD.pkl", "WM811K.pkl", "wm811k.npz")
# To be run where pandas can read the pickle, and only by who trusts it: reading it runs it.
CONVERSION = """
import numpy as np, pandas as pd
table = pd.read_pickle("LSWMD.pkl")
word = lambda cell: str(np.ravel(cell)[0]) if np.size(cell) else ""
np.savez_compressed(
    "wm811k.npz",
    dies=np.concatenate([np.ravel(dies).astype(np.uint8) for dies in table.waferMap]),
    shapes=np.array([dies.shape for dies in table.waferMap]),
    lots=np.array([str(lot) for lot in table.lotName]),
    splits=np.array([word(cell) for cell in table.trianTestLabel]),
    types=np.array([word(cell) for cell in table.failureType]),
)
"""
SYNONYMS = {
    "center": ("center failure pattern",),
    "donut": ("donut failure pattern",),
    "edge loc": ("edge local failure pattern",),
    "edge ring": ("edge ring failure pattern",),
    "loc": ("local failure pattern",),
    "near full": ("near full failure pattern",),
    "random": ("random failure pattern",),
    "scratch": ("scratch failure pattern",),
}
NO_PATTERN = "none"
SPLITS = {"training": "train", "test": "test", "": ""}
# The original column has this spelling; some copies correct it.
SPLIT_COLUMNS = ("trianTestLabel", "trainTestLabel")
COLUMNS = ("waferMap", "lotName", "failureType", *SPLIT_COLUMNS)
MAPS_FOLDER = "wafer_maps"
INDEX_FILE = "index.csv"
INDEX_VERSION = "1"
MAPS_PER_FOLDER = 1000
# Copies of the table box their words once or twice; a crafted list may hold itself.
DEEPEST_BOX = 4
# Outside the wafer, a good die, a failed die.
GREY_OF_DIE = np.array([0, 128, 255], dtype=np.uint8)


@dataclass(frozen=True, slots=True)
class Wafer:
    """One row of the table: dies (H, W) of 0 outside, 1 good, 2 failed; words as published."""

    dies: object
    lot: str
    split: str
    pattern: str


class Wm811k(Source):
    """Maps of good and failed dies, a word for the pattern of the failed ones, no masks.

    The pattern "none" is good; a map without a word is unlabelled, as four of five are. All
    wafers of a lot are one group, though the published split parts lots.
    """

    name: ClassVar[str] = "wm811k"
    about: ClassVar[About] = About(
        title="WM-811K (wafer maps)",
        licence="none stated; cite",
        licence_url="http://mirlab.org/dataSet/public/",
        citation=(
            "M.-J. Wu, J.-S. R. Jang, J.-L. Chen: Wafer Map Failure Pattern Recognition and "
            "Similarity Ranking for Large-Scale Data Sets. IEEE Trans. Semiconductor "
            "Manufacturing 28 (2015) 1-12"
        ),
        homepage="http://mirlab.org/dataSet/public/",
        instructions=(
            "take http://mirlab.org/dataSet/public/MIR-WM811K.zip and place WM811K.pkl in RAW, or "
            "LSWMD.pkl from https://www.kaggle.com/datasets/qingyi/wm811k-wafer-map, whose sha256 "
            "is 1d04fccb3dd3176b276878b926b20fead7e077c5751e4d353ea9741a5e7b5c65"
        ),
    )

    def records(self, root: Path) -> list[Record]:
        """One Record per wafer in the order of the table; the maps are drawn if they are not yet.

        A map that is none, or a word that is unknown, makes its record flawed. Raises
        FileNotFoundError for a missing table, ValueError for one that is no such table or not
        the one that was drawn, OSError where the maps cannot be written.
        """
        root = Path(root)
        table = next((root / name for name in TABLES if (root / name).is_file()), None)
        folder = root / MAPS_FOLDER
        if not (folder / INDEX_FILE).is_file():
            if table is None:
                raise absent_layout(root, title=self.about.title, expected=" or ".join(TABLES))
            draw_maps(table, folder)
        return [self._record(*row) for row in _read_index(folder / INDEX_FILE, table)]

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """The eight patterns with synonyms, whichever occur in records."""
        return Vocabulary((GOOD_WORDS, *((name, *words) for name, words in SYNONYMS.items())))

    def _record(self, picture: str, lot: str, split: str, pattern: str, flaw: str) -> Record:
        word = normalise_name(pattern)
        defect = "" if word == NO_PATTERN else word
        if defect and defect not in SYNONYMS:
            expected = ", ".join((NO_PATTERN, *SYNONYMS))
            flaw = f"pattern {pattern[:40]!r} of {picture} is unknown: expected one of {expected}"
        if split.lower() not in SPLITS:
            flaw = f"split {split[:40]!r} of {picture} is unknown: expected Training or Test"
        return Record(
            image=f"{MAPS_FOLDER}/{picture}",
            mask="",
            mask_values=(),
            defects=(defect,) if defect else (),
            caption=Caption("wafer map", "silicon", defect),
            group=f"{self.name}_{lot or picture}",
            source=self.name,
            split=SPLITS.get(split.lower(), "") if word else UNLABELLED,
            licence=self.about.licence,
            flaw=flaw,
        )


def draw_maps(table: Path, folder: Path) -> None:
    """The finished folder of maps, renamed from a temporary one: never half of them."""
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.tmp")
    try:
        partial.mkdir()
        # A lone surrogate in a name must not stop the whole table.
        with (partial / INDEX_FILE).open(
            "w", encoding="utf-8", errors="backslashreplace", newline=""
        ) as file:
            writer = csv.writer(file)
            writer.writerow((INDEX_VERSION, table.name, table.stat().st_size))
            for row, wafer in enumerate(_read_table(table)):
                picture = f"{row // MAPS_PER_FOLDER:04d}/{row:06d}.png"
                flaw = _draw(wafer.dies, partial / picture)
                writer.writerow((picture, wafer.lot, wafer.split, wafer.pattern, flaw))
        partial.rename(folder)
    except OSError as error:
        # Another process may have finished the very same folder first: then it is ours too.
        if not (folder / INDEX_FILE).is_file():
            raise OSError(
                f"cannot draw wafer maps into {folder} ({error.strerror or error}): "
                "choose a root that can be written and is not full"
            ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _draw(dies: object, path: Path) -> str:
    """Write the map as a PNG; what is wrong with it where it is none, else ""."""
    if not isinstance(dies, np.ndarray) or dies.ndim != 2 or not dies.size:
        shape = "x".join(map(str, getattr(dies, "shape", ()))) or type(dies).__name__
        return f"wafer map {path.name} is {shape}, expected rows and columns of dies"
    if dies.dtype.kind not in "buif" or not np.isin(dies, (0, 1, 2)).all():
        return f"wafer map {path.name} holds other values than 0, 1 and 2"
    path.parent.mkdir(exist_ok=True)
    # Encoded in memory first: cv2.imwrite only answers False on a full disk.
    path.write_bytes(cv2.imencode(".png", GREY_OF_DIE[dies.astype(np.uint8)])[1].tobytes())
    return ""


def _read_index(path: Path, table: Path | None) -> list[list[str]]:
    """The rows of index.csv; ValueError where it does not belong to the table beside it."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            head, *rows = list(csv.reader(file)) or [[]]
    except (ValueError, csv.Error) as error:
        raise ValueError(
            f"{path} is not readable ({error}): delete {path.parent} to have it drawn again"
        ) from error
    stale = table is not None and head[1:] != [table.name, str(table.stat().st_size)]
    if stale or head[:1] != [INDEX_VERSION] or any(len(row) != 5 for row in rows):
        raise ValueError(
            f"{path.parent} was drawn from another table than {table or 'the original one'}: "
            "expected maps of this very file; delete that folder to have it drawn again"
        )
    return rows


def _read_table(table: Path) -> Iterator[Wafer]:
    if table.suffix == ".npz":
        yield from _read_npz(table)
        return
    columns = read_pickled_columns(table, COLUMNS)
    splits = next((columns[name] for name in SPLIT_COLUMNS if name in columns), None)
    missing = [name for name in COLUMNS[:3] if name not in columns]
    if missing or splits is None:
        raise ValueError(
            f"{table} has no column {(missing or SPLIT_COLUMNS)[0]}: "
            f"expected {', '.join(COLUMNS[:4])}; take the original file again"
        )
    cells = zip(
        columns["waferMap"], columns["lotName"], splits, columns["failureType"], strict=True
    )
    for dies, lot, split, pattern in cells:
        yield Wafer(dies, _word(lot), _word(split), _word(pattern))


def _read_npz(table: Path) -> Iterator[Wafer]:
    try:
        with np.load(table, allow_pickle=False) as file:
            dies, shapes, *words = (
                file[name] for name in ("dies", "shapes", "lots", "splits", "types")
            )
        if shapes.dtype.kind not in "iu" or shapes.ndim != 2 or shapes.shape[1] != 2:
            raise ValueError("shapes are not rows and columns of each map")
        ends = np.cumsum(np.prod(shapes.astype(np.int64), axis=1))
        if dies.ndim != 1 or (shapes < 0).any() or (len(ends) and ends[-1] != len(dies)):
            raise ValueError("dies and shapes do not fit together")
        if any(len(column) != len(shapes) for column in words):
            raise ValueError("its columns have different lengths")
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, OSError) as error:
        reason = str(error).split("\n", maxsplit=1)[0]
        raise ValueError(
            f"{table} is not readable ({reason}): expected what CONVERSION in "
            "datamodules/sources/wm811k.py writes; convert it again"
        ) from error
    starts = np.concatenate([[0], ends[:-1]]).astype(np.int64)
    for row, shape in enumerate(shapes):
        lot, split, pattern = (_word(column[row]) for column in words)
        yield Wafer(dies[starts[row] : ends[row]].reshape(shape), lot, split, pattern)


def _word(cell: object) -> str:
    """The word in a cell, which may be boxed in arrays or lists; "" for an empty box or NaN."""
    for _ in range(DEEPEST_BOX):
        if not isinstance(cell, list | np.ndarray):
            break
        cells = cell if isinstance(cell, list) else cell.ravel().tolist()
        cell = cells[0] if cells else ""
    if isinstance(cell, bytes):
        cell = cell.decode("latin-1")
    return "" if cell is None or cell != cell else str(cell).strip()
