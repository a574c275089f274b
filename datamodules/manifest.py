"""The manifest: row number -> Record, and the source whose records a manifest holds.

A manifest is one Parquet file, typed and described by SCHEMA. Beside it lies the same table as an
uncompressed Arrow file, which every process maps into memory instead of holding rows. Nothing here
reads a pixel. Who goes to which split is `splits.py`, the way from a source to a manifest is
`preparing/preparation.py`.
"""

import dataclasses
import hashlib
import json
import logging
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
from datamodules.decode import sha256_of
from datamodules.language.terminology import Terminology
from datamodules.sample import GOOD, SHOWN, MaskValues, Record, Region
from datamodules.vocabulary import GOOD_WORDS, TypeNames, Vocabulary
from datamodules.whole_files import whole

LOGGER = logging.getLogger(__name__)
VERSION = 4
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
COMPUTED_COLUMNS = ("mask_kind",)


class Source(ABC):
    """One public data set in its original layout; a subclass lives in `sources/<name>.py`.

    types: the types with their synonyms, where the set fixes them. causes: what usually causes a
    type. label_suffixes: endings of the files that each label one image. unclaimed: what an image
    is that no record names. left_on_purpose: (pattern of paths that records leave out, why).
    names: of types, where a user's labels spell them. group_pattern: a user's regular expression
    for the groups, searched in the paths of images.
    """

    name: ClassVar[str]
    types: ClassVar[Sequence[Sequence[str]]] = ()
    causes: ClassVar[Mapping[str, str]] = {}
    label_suffixes: ClassVar[Sequence[str]] = ()
    unclaimed: ClassVar[str] = "image that no annotation names"
    left_on_purpose: Sequence[tuple[str, str]] = ()
    names: TypeNames
    group_pattern: str = ""

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
        """The fixed types whichever occur, else all that the records can show, with synonyms."""
        if self.types:
            return Vocabulary((GOOD_WORDS, *map(tuple, self.types)))
        shown = {name for record in records for name in record.defects}
        shown |= {value.name for record in records for value in record.mask_values}
        shown |= {region.name for record in records for region in record.regions}
        return Terminology.load().vocabulary_of(sorted(shown - {GOOD}))


class Manifest:
    """A memory-mapped index: row number -> Record, with its root, vocabulary and hashes.

    leaks: pairs of alike images in training and test, -1 where nobody has looked for them.
    """

    def __init__(self, path: Path, *, root: Path | None = None) -> None:
        metadata = _read_metadata(path)
        self.path = path
        try:
            self.root = Path(metadata["root"]) if root is None else root
            self.source = metadata["source"]
            self.sha256 = metadata["sha256"]
            self.split_sha256 = metadata["split_sha256"]
            self.leaks = int(metadata["leaks"])
            entries = json.loads(metadata["vocabulary"])
            self.vocabulary = Vocabulary(tuple(tuple(words) for words in entries))
            if "\0" in metadata["root"]:
                raise ValueError
        except (KeyError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{path} has lost or spoilt words in its head, expected root, source, hashes, "
                f"leaks and vocabulary: {PREPARE_AGAIN}"
            ) from error
        table = _open_map(path)
        # One chunk a column, as the map is written: a row is found without searching.
        self._columns = {name: table.column(name).chunk(0) for name in SCHEMA.names}

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
        stored = (name for name in SCHEMA.names if name not in COMPUTED_COLUMNS)
        values = {name: self._columns[name][row].as_py() for name in stored}
        return record_of({**values, "frame": SHOWN})

    def rows_of(self, split: str) -> np.ndarray:
        """The rows of a split in ascending order, int64; empty where the split is unknown."""
        is_in_split = pc.equal(self._columns["split"], split)
        return np.flatnonzero(is_in_split.to_numpy(zero_copy_only=False))

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
        return self._columns[name].to_pylist()


def write_manifest(
    path: str | Path,
    records: Sequence[Record],
    *,
    root: str | Path,
    vocabulary: Vocabulary,
    source: str,
    leaks: int = -1,
) -> Manifest:
    """The manifest now at `path`, complete or not there at all.

    Its sha256 covers records and vocabulary but not `root`: the same data has the same hash
    anywhere. Raises ValueError without records or with a generated one in val or test, OSError
    where the folder cannot be written.
    """
    path = Path(path)
    if not records:
        raise ValueError(f"no records to write to {path}: the data folder {root} holds no images")
    for record in records:
        if record.is_generated and record.split in ("val", "test"):
            raise ValueError(
                f"generated image {record.image} is in the split {record.split}, expected train: "
                "what a model painted proves nothing about real parts; leave it out or train on it"
            )
    metadata = {
        "root": str(Path(root).resolve()),
        "vocabulary": json.dumps(vocabulary.entries),
        "source": source,
        "sha256": records_sha256(records, vocabulary),
        "split_sha256": _sha256(sorted([record.image, record.split] for record in records)),
        "leaks": str(leaks),
        "version": str(VERSION),
    }
    rows = [{**dataclasses.asdict(record), "mask_kind": record.mask_kind} for record in records]
    try:
        with whole(path) as unfinished:
            schema = SCHEMA.with_metadata(metadata)
            pq.write_table(pa.Table.from_pylist(rows, schema=schema), unfinished)
    except OSError as error:
        raise OSError(
            f"cannot write {path} ({error.strerror or _first_line(error)}): "
            "expected a folder you may write to; choose another output folder"
        ) from error
    return Manifest.open(path)


def records_sha256(records: Sequence[Record], vocabulary: Vocabulary) -> str:
    """The hash of records and vocabulary that a manifest of them carries."""
    rows = [dataclasses.asdict(record) for record in records]
    for row in rows:
        del row["frame"]  # it ends with the inspection
    return _sha256([vocabulary.entries, *rows])


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
    if version != str(VERSION) or not schema.equals(SCHEMA):
        raise ValueError(
            f"{path} is a Parquet file with manifest version {version}, expected {VERSION}: "
            f"{PREPARE_AGAIN}"
        )
    return metadata


def _open_map(path: Path) -> pa.Table:
    """The rows of the manifest at `path`, mapped: no process holds them in its own memory.

    A map that is missing, damaged or of another manifest is made anew.
    """
    place = path.with_name(f".{path.name}.arrow")
    stamp = {b"sha256_of_parquet": sha256_of(path).encode()}
    try:
        table = pa.ipc.open_file(pa.memory_map(str(place))).read_all()
        if table.schema.metadata == stamp:
            return table
    except (pa.ArrowException, OSError):
        pass
    try:
        table = pq.read_table(path).combine_chunks().replace_schema_metadata(stamp)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(path, error) from error
    if not len(table) or any(_has_gaps(column) for column in table.columns):
        raise ValueError(f"{path} has no rows, or cells that are empty: {PREPARE_AGAIN}")
    try:
        with (
            whole(place) as unfinished,
            pa.OSFile(str(unfinished), "wb") as file,
            pa.ipc.new_file(file, table.schema) as writer,
        ):
            writer.write_table(table, max_chunksize=len(table))
    except OSError:
        LOGGER.warning(
            "%s cannot be written: every process keeps the %d rows of %s in its own memory",
            place,
            len(table),
            path,
        )
        return table
    return pa.ipc.open_file(pa.memory_map(str(place))).read_all()


def _has_gaps(column: pa.ChunkedArray) -> bool:
    """Whether a cell of a column, or a part of one, is empty."""
    parts: list[pa.ChunkedArray] = []
    if pa.types.is_list(column.type):
        parts = [pc.list_flatten(column)]
    elif pa.types.is_struct(column.type):
        parts = column.flatten()
    return column.null_count > 0 or any(map(_has_gaps, parts))


def _unreadable(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path} is not a readable Parquet manifest ({_first_line(error)}): {PREPARE_AGAIN}"
    )


def _first_line(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0]


def _sha256(items: Iterable[object]) -> str:
    digest = hashlib.sha256()
    for item in items:
        digest.update(json.dumps(item, separators=(",", ":")).encode())
        digest.update(b"\n")
    return digest.hexdigest()
