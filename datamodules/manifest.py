"""The index of Records: Source yields them, write_manifest keeps them, Manifest opens them.

Nothing here reads a pixel. The files and their schema are `manifest_file.py`, who goes to which
split is `splits.py`, and the way from a source to a manifest is `preparation.py`.
"""

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from datamodules.about import About, about_of
from datamodules.captions import Caption
from datamodules.language.terminology import Terminology
from datamodules.manifest_file import SCHEMA, open_table, read_metadata, write_table
from datamodules.sample import GOOD, MaskValues, Record, Region
from datamodules.vocabulary import GOOD_WORDS, Vocabulary

COMPUTED_COLUMNS = ("mask_kind",)


class Source(ABC):
    """One public data set in its original layout; a subclass lives in `sources/<name>.py`.

    types: the types with their synonyms, where the set fixes them. causes: what usually causes a
    type.
    """

    name: ClassVar[str]
    types: ClassVar[Sequence[Sequence[str]]] = ()
    causes: ClassVar[Mapping[str, str]] = {}

    @property
    def about(self) -> About:
        """Licence, citation and addresses; ValueError for a source that about.yaml lacks."""
        return about_of(self.name)

    @abstractmethod
    def records(self, root: Path) -> list[Record]:
        """One Record per picture, paths relative to `root`; no picture or mask is opened.

        What pixels tell is filled in later, for all sources alike (`inspection.py`).
        Raises FileNotFoundError or ValueError with one line where the layout is not as expected.
        """

    def vocabulary(self, records: Sequence[Record]) -> Vocabulary:
        """The fixed types whichever occur, else those of the records, sorted, with synonyms."""
        if self.types:
            return Vocabulary((GOOD_WORDS, *map(tuple, self.types)))
        names = sorted({name for record in records for name in record.defects})
        return Terminology.load().vocabulary_of(names)


class Manifest:
    """A memory-mapped index: row number -> Record, with its root, vocabulary and hashes.

    leaks: pairs of alike pictures in training and test, -1 where nobody has looked for them.
    """

    def __init__(self, path: Path, *, root: Path | None = None) -> None:
        metadata = read_metadata(path)
        self.path = path
        self.root = Path(metadata["root"]) if root is None else root
        self.source = metadata["source"]
        self.sha256 = metadata["sha256"]
        self.split_sha256 = metadata["split_sha256"]
        self.leaks = int(metadata["leaks"])
        entries = json.loads(metadata["vocabulary"])
        self.vocabulary = Vocabulary(tuple(tuple(words) for words in entries))
        table = open_table(path)
        # One chunk a column, as the map is written: a row is found without searching.
        self._columns = {name: table.column(name).chunk(0) for name in SCHEMA.names}
        self._stored = [name for name in SCHEMA.names if name not in COMPUTED_COLUMNS]

    @classmethod
    def open(cls, path: str | Path, root: str | Path | None = None) -> "Manifest":
        """The manifest at `path`; `root` replaces the data folder that it was written with.

        Raises FileNotFoundError where it is missing, ValueError where it is not a manifest.
        """
        return cls(Path(path), root=None if root is None else Path(root))

    def __reduce__(self) -> tuple[object, tuple[Path, Path]]:
        """Pickled as its path, so that loader workers map the same file."""
        return Manifest.open, (self.path, self.root)

    def __len__(self) -> int:
        return len(self._columns["image"])

    def __getitem__(self, row: int) -> Record:
        """The Record of a row; IndexError outside 0..len-1."""
        if not 0 <= row < len(self):
            raise IndexError(f"row {row} is outside the manifest's 0..{len(self) - 1}")
        return record_of({name: self._columns[name][row].as_py() for name in self._stored})

    def rows_of(self, split: str) -> np.ndarray:
        """The rows of a split in ascending order, int64; empty where the split is unknown."""
        column = self._columns["split"]
        names = column.dictionary.to_pylist()
        if split not in names:
            return np.empty(0, dtype=np.int64)
        codes = column.indices.to_numpy(zero_copy_only=False)
        return np.flatnonzero(codes == names.index(split))

    def types_of(self, rows: np.ndarray) -> list[str]:
        """The dominant defect type of each row, "good" without any."""
        defects = self._columns["defects"].take(pa.array(rows))
        first = pc.list_slice(defects, 0, 1).to_pylist()
        return [names[0] if names else GOOD for names in first]

    @property
    def generated_count(self) -> int:
        """How many of the pictures were painted by a model."""
        return pc.sum(self._columns["is_generated"]).as_py() or 0

    def caption_column(self, name: str) -> list[str]:
        """A field of the built captions (product, material, ...) for all rows."""
        return self._columns["caption"].field(name).to_pylist()

    def column(self, name: str) -> list[str]:
        """A column of words (image, group, source, split, licence, ...) for all rows."""
        column = self._columns[name]
        if isinstance(column, pa.DictionaryArray):
            column = column.dictionary_decode()  # word by word, Arrow is 20 times slower
        return column.to_pylist()


def write_manifest(
    path: str | Path,
    records: Sequence[Record],
    *,
    root: str | Path,
    vocabulary: Vocabulary,
    source: str,
    leaks: int = -1,
) -> Manifest:
    """The manifest now at `path`, complete or not there at all: a temporary file is renamed.

    Its sha256 covers records and vocabulary but not `root`: the same data has the same hash
    anywhere. Raises ValueError without records or with a generated one in val or test, OSError
    where the folder cannot be written.
    """
    path = Path(path)
    if not records:
        raise ValueError(f"no records to write to {path}: the data folder {root} holds no pictures")
    _refuse_generated(records)
    rows = [{**dataclasses.asdict(record), "mask_kind": record.mask_kind} for record in records]
    metadata = {
        "root": str(Path(root).resolve()),
        "vocabulary": json.dumps(vocabulary.entries),
        "source": source,
        "sha256": records_sha256(records, vocabulary),
        "split_sha256": _sha256(sorted([record.image, record.split] for record in records)),
        "leaks": str(leaks),
    }
    write_table(path, pa.Table.from_pylist(rows, schema=SCHEMA), metadata)
    return Manifest.open(path)


def records_sha256(records: Sequence[Record], vocabulary: Vocabulary) -> str:
    """The hash of records and vocabulary that a manifest of them carries."""
    return _sha256([vocabulary.entries, *(dataclasses.asdict(record) for record in records)])


def record_of(row: Mapping[str, object]) -> Record:
    """The Record of plain Python values, as JSON or Arrow give them."""
    values: dict = dict(row)
    values["mask_values"] = tuple(MaskValues(**value) for value in values["mask_values"])
    values["regions"] = tuple(
        Region(item["name"], item["kind"], tuple(item["numbers"])) for item in values["regions"]
    )
    values["defects"] = tuple(values["defects"])
    values["window_xywh_px"] = tuple(values["window_xywh_px"])
    values["caption"] = Caption(**values["caption"])
    return Record(**values)


def _refuse_generated(records: Sequence[Record]) -> None:
    for record in records:
        if record.is_generated and record.split in ("val", "test"):
            raise ValueError(
                f"generated image {record.image} is in the split {record.split}, expected train: "
                "what a model painted proves nothing about real parts; leave it out or train on it"
            )


def _sha256(items: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps(item, separators=(",", ":")).encode())
        digest.update(b"\n")
    return digest.hexdigest()
