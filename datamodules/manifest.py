"""The Parquet index of Records: Source yields them, write_manifest keeps them, Manifest opens them.

Nothing here reads a pixel except `verify`; who goes to which split is `splits.py`.
"""

import dataclasses
import hashlib
import json
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datamodules.captions import Caption
from datamodules.image_files import open_image, open_mask
from datamodules.sample import GOOD, MaskValues, Record
from datamodules.vocabulary import Vocabulary

VERSION = 1
CAPTION_FIELDS = tuple(field.name for field in dataclasses.fields(Caption))
SCHEMA = pa.schema(
    [
        ("image", pa.string()),
        ("mask", pa.string()),
        (
            "mask_values",
            pa.list_(pa.struct([("low", pa.int32()), ("high", pa.int32()), ("name", pa.string())])),
        ),
        ("defects", pa.list_(pa.string())),
        ("caption", pa.struct([(name, pa.string()) for name in CAPTION_FIELDS])),
        ("group", pa.string()),
        ("source", pa.string()),
        ("split", pa.string()),
    ]
)


class Source(ABC):
    """One public data set in its original layout; a subclass lives in `sources/<name>.py`."""

    name: ClassVar[str]

    @abstractmethod
    def records(self, root: Path) -> list[Record]:
        """One Record per picture, paths relative to `root`.

        Raises FileNotFoundError or ValueError with one line where the layout is not as expected.
        """

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """The class names of the records, sorted; a source with synonyms overrides it."""
        return Vocabulary.from_names(
            sorted({name for record in records for name in record.defects})
        )


class Manifest:
    """A memory-mapped index: row number -> Record, with its root, vocabulary and hashes."""

    def __init__(self, path: Path, table: pa.Table, *, root: Path | None = None) -> None:
        metadata = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
        self.path = path
        self.root = Path(metadata["root"]) if root is None else root
        self.source = metadata["source"]
        self.sha256 = metadata["sha256"]
        entries = json.loads(metadata["vocabulary"])
        self.vocabulary = Vocabulary(tuple(tuple(words) for words in entries))
        self._table = table
        self._columns = [table.column(name).combine_chunks() for name in SCHEMA.names]

    @classmethod
    def open(cls, path: str | Path, root: str | Path | None = None) -> "Manifest":
        """The manifest at `path`; `root` replaces the data folder that it was written with.

        Raises FileNotFoundError where it is missing, ValueError where it is not a manifest.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"manifest {path} is missing: run python -m experiments.prepare "
                f"--source NAME --root RAW --out {path.parent}"
            )
        try:
            table = pq.read_table(path, memory_map=True)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(
                f"{path} is not a readable Parquet manifest ({_first_line(error)}): "
                "write it again with python -m experiments.prepare"
            ) from error
        version = (table.schema.metadata or {}).get(b"version", b"none").decode()
        if version != str(VERSION) or not table.schema.equals(SCHEMA):
            raise ValueError(
                f"{path} is a Parquet file with manifest version {version}, expected {VERSION}: "
                "write it again with python -m experiments.prepare"
            )
        return cls(path, table, root=None if root is None else Path(root))

    def __reduce__(self) -> tuple[object, tuple[Path, Path]]:
        """Pickled as its path, so that loader workers map the same file."""
        return Manifest.open, (self.path, self.root)

    def __len__(self) -> int:
        return self._table.num_rows

    def __getitem__(self, row: int) -> Record:
        """The Record of a row; IndexError outside 0..len-1."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} is outside the manifest's 0..{len(self) - 1}")
        image, mask, values, defects, caption, group, source, split = (
            column[row].as_py() for column in self._columns
        )
        return Record(
            image=image,
            mask=mask,
            mask_values=tuple(MaskValues(**value) for value in values),
            defects=tuple(defects),
            caption=Caption(**caption),
            group=group,
            source=source,
            split=split,
        )

    def rows_of(self, split: str) -> np.ndarray:
        """The rows of a split in ascending order, int64; empty where the split is unknown."""
        splits = self._columns[SCHEMA.get_field_index("split")].to_pylist()
        return np.array([row for row, name in enumerate(splits) if name == split], dtype=np.int64)

    @property
    def groups(self) -> list[str]:
        """The group of every row (capture run, board, wafer)."""
        return self._columns[SCHEMA.get_field_index("group")].to_pylist()

    @property
    def split_sha256(self) -> str:
        """The hash of all (image, split) pairs: equal for runs that may be compared."""
        images = self._columns[SCHEMA.get_field_index("image")].to_pylist()
        splits = self._columns[SCHEMA.get_field_index("split")].to_pylist()
        return _sha256(sorted(zip(images, splits, strict=True)))


def write_manifest(
    path: str | Path,
    records: Sequence[Record],
    *,
    root: str | Path,
    vocabulary: Vocabulary,
    source: str,
) -> Manifest:
    """The manifest now at `path`, complete or not there at all: a temporary file is renamed.

    Its sha256 covers records and vocabulary but not `root`: the same data has the same hash
    anywhere. Raises ValueError without records, OSError where the folder cannot be written.
    """
    path = Path(path)
    if not records:
        raise ValueError(f"no records to write to {path}: the data folder {root} holds no pictures")
    rows = [dataclasses.asdict(record) for record in records]
    metadata = {
        "version": str(VERSION),
        "root": str(Path(root).resolve()),
        "vocabulary": json.dumps(vocabulary.entries),
        "source": source,
        "sha256": records_sha256(records, vocabulary),
    }
    table = pa.Table.from_pylist(rows, schema=SCHEMA).replace_schema_metadata(metadata)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(
            f"cannot write {path} ({error.strerror or _first_line(error)}): "
            "expected a folder you may write to; choose another output folder"
        ) from error
    finally:
        if temporary.is_file():
            temporary.unlink()
    return Manifest.open(path)


def records_sha256(records: Sequence[Record], vocabulary: Vocabulary) -> str:
    """The hash of records and vocabulary that a manifest of them carries."""
    return _sha256([vocabulary.entries, [dataclasses.asdict(record) for record in records]])


def verify(records: Sequence[Record], root: str | Path) -> None:
    """Nothing, after every image and mask was opened and found to fit its record.

    Raises the FileNotFoundError or ValueError of the first bad one, in the order of the records.
    """
    root = Path(root)
    names = sorted({value.name for record in records for value in record.mask_values} - {GOOD})
    vocabulary = Vocabulary.from_names(names or ["defect"])

    def check(record: Record) -> None:
        height_px, width_px = open_image(root / record.image).shape[:2]
        if record.mask:
            open_mask(
                root / record.mask,
                record.mask_values,
                vocabulary=vocabulary,
                size_px=(height_px, width_px),
            )

    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        for _ in pool.map(check, records):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _sha256(content: object) -> str:
    return hashlib.sha256(json.dumps(content, separators=(",", ":")).encode()).hexdigest()


def _first_line(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0]
