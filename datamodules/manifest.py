"""The index of Records: Source yields them, write_manifest keeps them, Manifest opens them.

`manifest.parquet` is the document that users see and pass on. Beside it lies the same table as an
uncompressed Arrow file, which every process maps into memory instead of holding rows: made anew
where it is missing. Nothing here reads a pixel. Who goes to which split is `splits.py`, the way
from a source to a manifest is `preparing/preparation.py`.
"""

import dataclasses
import glob
import hashlib
import json
import os
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from datamodules.about import About, about_of
from datamodules.captions import Caption
from datamodules.language.terminology import Terminology
from datamodules.sample import GOOD, MaskValues, Record, Region
from datamodules.vocabulary import GOOD_WORDS, Vocabulary
from datamodules.whole_files import whole

VERSION = 3
PREPARE_AGAIN = "write it again with python -m experiments.prepare"
_MASK_VALUE = pa.struct([("low", pa.int32()), ("high", pa.int32()), ("name", pa.string())])
_REGION = pa.struct(
    [("name", pa.string()), ("kind", pa.string()), ("numbers", pa.list_(pa.float64()))]
)
_CAPTION = pa.struct([(field.name, pa.string()) for field in dataclasses.fields(Caption)])
# Column -> its type and what it holds; the words are kept in the file itself.
COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "image": (pa.string(), "path of the image below the root"),
    "mask": (pa.string(), "path of the mask below the root, empty without one"),
    "mask_values": (pa.list_(_MASK_VALUE), "grey ranges of the mask, ends included, and classes"),
    "regions": (pa.list_(_REGION), "boxes, polygons or runs in pixels of the whole image"),
    "mask_kind": (pa.string(), "pixel, box or none: what the annotation's outline is worth"),
    "defects": (pa.list_(pa.string()), "defect types, the dominant one first; empty for good"),
    "caption": (_CAPTION, "the template's six fields (section 5.1)"),
    "released_caption": (pa.string(), "the caption that came with the data, verbatim"),
    "group": (pa.string(), "images of a group never part between splits"),
    "source": (pa.string(), "name of the data set"),
    "split": (pa.string(), "train, val, test or unlabelled"),
    "licence": (pa.string(), "licence of the image"),
    "window_xywh_px": (pa.list_(pa.int32()), "the tile's left, top, width, height; empty for all"),
    "width_px": (pa.int32(), "width of the image, of its tile where it is one"),
    "height_px": (pa.int32(), "height of the image, of its tile where it is one"),
    "sha256": (pa.string(), "hash of the image's file"),
    "is_generated": (pa.bool_(), "painted by a model: never in val or test"),
}
SCHEMA = pa.schema(
    [pa.field(name, kind, metadata={"holds": words}) for name, (kind, words) in COLUMNS.items()]
)
SCHEMAS = {
    # Before version 3 there were no generated images.
    "2": SCHEMA.remove(SCHEMA.get_field_index("is_generated")),
    str(VERSION): SCHEMA,
}
COMPUTED_COLUMNS = ("mask_kind",)
# Few distinct words in many rows: kept once in the map.
REPEATED_COLUMNS = ("mask_kind", "source", "split", "licence")


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
        """One Record per image, paths relative to `root`; no image or mask is opened.

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

    leaks: pairs of alike images in training and test, -1 where nobody has looked for them.
    """

    def __init__(self, path: Path, *, root: Path | None = None) -> None:
        metadata = _read_metadata(path)
        self.path = path
        self.root = Path(metadata["root"]) if root is None else root
        self.source = metadata["source"]
        self.sha256 = metadata["sha256"]
        self.split_sha256 = metadata["split_sha256"]
        self.leaks = int(metadata["leaks"])
        entries = json.loads(metadata["vocabulary"])
        self.vocabulary = Vocabulary(tuple(tuple(words) for words in entries))
        table = _open_map(path)
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
        """How many of the images were generated by a model."""
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
        raise ValueError(f"no records to write to {path}: the data folder {root} holds no images")
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


def write_table(path: Path, table: pa.Table, metadata: Mapping[str, str]) -> None:
    """The table now at `path` and its map beside it; OSError where the folder cannot be written."""
    try:
        schema = SCHEMA.with_metadata({**metadata, "version": str(VERSION)})
        with whole(path) as unfinished:
            pq.write_table(pa.table(table.columns, schema=schema), unfinished)
        _write_map(path, table)
    except OSError as error:
        raise OSError(
            f"cannot write {path} ({error.strerror or _first_line(error)}): "
            "expected a folder you may write to; choose another output folder"
        ) from error


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


def _read_metadata(path: Path) -> dict[str, str]:
    """What the head of a manifest says; the rows are not read."""
    if not path.is_file():
        raise FileNotFoundError(
            f"manifest {path} is missing: run python -m experiments.prepare "
            f"--source NAME --root RAW --out {path.parent}"
        )
    try:
        # Given a path, Arrow sets up its file systems: 4 MiB of every loader worker's own memory.
        with path.open("rb") as file:
            schema = pq.read_schema(file)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    metadata = {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()}
    version = metadata.get("version", "none")
    if version not in SCHEMAS or not schema.equals(SCHEMAS[version]):
        raise ValueError(
            f"{path} is a Parquet file with manifest version {version}, expected {VERSION}: "
            f"{PREPARE_AGAIN}"
        )
    return metadata


def _open_map(path: Path) -> pa.Table:
    """The rows of the manifest at `path`, mapped: no process holds them in its own memory."""
    for place in _places_of_map(path):
        try:
            return pa.ipc.open_file(pa.memory_map(str(place))).read_all()
        except (pa.ArrowException, OSError):
            continue  # Not there, or damaged: it is made anew.
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    if "is_generated" not in table.column_names:
        table = table.append_column(SCHEMA.field("is_generated"), pa.repeat(False, len(table)))
    place = _write_map(path, table)
    return pa.ipc.open_file(pa.memory_map(str(place))).read_all()


def _write_map(path: Path, table: pa.Table) -> Path:
    """Where the table now lies as an Arrow file, one chunk a column; maps of older ones go."""
    for name in REPEATED_COLUMNS:
        position = table.schema.get_field_index(name)
        table = table.set_column(position, name, table.column(name).dictionary_encode())
    table = table.combine_chunks().replace_schema_metadata()
    for place in _places_of_map(path):
        try:
            owner = glob.escape(place.name.rsplit("-", maxsplit=1)[0])
            for older in set(place.parent.glob(f"{owner}-*.arrow")) - {place}:
                older.unlink(missing_ok=True)
            with (
                whole(place) as unfinished,
                pa.OSFile(str(unfinished), "wb") as sink,
                pa.ipc.new_file(sink, table.schema) as writer,
            ):
                writer.write_table(table, max_chunksize=len(table))
        except OSError:
            continue  # A read-only data folder is no fault: there is a second place.
        return place
    raise OSError(
        f"cannot write the map of {path} beside it or to {place.parent}: expected one of them to "
        "be writable with room for it"
    )


def _places_of_map(path: Path) -> tuple[Path, Path]:
    """Where the map of the very file at `path` may lie: beside it, or in the user's cache.

    Its name holds the file's size and time, so that a map of another manifest is never opened.
    """
    state = path.stat()
    stamp = f"{VERSION}-{state.st_size:x}{state.st_mtime_ns:x}.arrow"
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = (cache if cache.is_dir() else Path(tempfile.gettempdir())) / "diffuse_defect"
    owner = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return path.with_name(f".{path.name}-{stamp}"), folder / f"{owner}-{stamp}"


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} is not a readable Parquet manifest ({_first_line(error)}): {PREPARE_AGAIN}"
    )


def _first_line(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0]


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
