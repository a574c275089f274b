"""The files behind a Manifest: the Parquet document, and the map of it that loaders share.

`manifest.parquet` is the document. Beside it lies the same table as an uncompressed Arrow file,
which every process maps into memory instead of holding rows; it is made anew when it is missing.
"""

import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from datamodules.captions import Caption

VERSION = 3
PREPARE_AGAIN = "write it again with python -m experiments.prepare"
_MASK_VALUE = pa.struct([("low", pa.int32()), ("high", pa.int32()), ("name", pa.string())])
_REGION = pa.struct(
    [("name", pa.string()), ("kind", pa.string()), ("numbers", pa.list_(pa.float64()))]
)
_CAPTION = pa.struct([(field.name, pa.string()) for field in dataclasses.fields(Caption)])
# Column -> its type and what it holds; the words are kept in the file itself.
COLUMNS: dict[str, tuple[pa.DataType, str]] = {
    "image": (pa.string(), "path of the picture below the root"),
    "mask": (pa.string(), "path of the mask below the root, empty without one"),
    "mask_values": (pa.list_(_MASK_VALUE), "grey ranges of the mask, ends included, and classes"),
    "regions": (pa.list_(_REGION), "boxes, polygons or runs in pixels of the whole picture"),
    "mask_kind": (pa.string(), "pixel, box or none: what the annotation's outline is worth"),
    "defects": (pa.list_(pa.string()), "defect types, the dominant one first; empty for good"),
    "caption": (_CAPTION, "the template's six fields (section 5.1)"),
    "released_caption": (pa.string(), "the caption that came with the data, verbatim"),
    "group": (pa.string(), "pictures of a group never part between splits"),
    "source": (pa.string(), "name of the data set"),
    "split": (pa.string(), "train, val, test or unlabelled"),
    "licence": (pa.string(), "licence of the picture"),
    "window_xywh_px": (pa.list_(pa.int32()), "the tile's left, top, width, height; empty for all"),
    "width_px": (pa.int32(), "width of the picture, of its tile where it is one"),
    "height_px": (pa.int32(), "height of the picture, of its tile where it is one"),
    "sha256": (pa.string(), "hash of the picture's file"),
    "is_generated": (pa.bool_(), "painted by a model: never in val or test"),
}
SCHEMA = pa.schema(
    [pa.field(name, kind, metadata={"holds": words}) for name, (kind, words) in COLUMNS.items()]
)
SCHEMAS = {
    # Before version 3 there were no generated pictures.
    "2": SCHEMA.remove(SCHEMA.get_field_index("is_generated")),
    str(VERSION): SCHEMA,
}
# Few distinct words in many rows: kept once in the map.
_REPEATED = ("mask_kind", "source", "split", "licence")


def read_metadata(path: Path) -> dict[str, str]:
    """What the head of a manifest says; the rows are not read.

    Raises FileNotFoundError where it is missing, ValueError where it is not a manifest.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"manifest {path} is missing: run python -m experiments.prepare "
            f"--source NAME --root RAW --out {path.parent}"
        )
    try:
        schema = _schema_of(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} is not a readable Parquet manifest ({_first_line(error)}): {PREPARE_AGAIN}"
        ) from error
    metadata = {k.decode(): v.decode() for k, v in (schema.metadata or {}).items()}
    version = metadata.get("version", "none")
    if version not in SCHEMAS or not schema.equals(SCHEMAS[version]):
        raise ValueError(
            f"{path} is a Parquet file with manifest version {version}, expected {VERSION}: "
            f"{PREPARE_AGAIN}"
        )
    return metadata


def open_table(path: Path) -> pa.Table:
    """The rows of the manifest at `path`, mapped: no process holds them in its own memory."""
    stamp = _stamp(path)
    for place in (_map_beside(path), _map_in_cache(path)):
        table = _open_map(place, stamp)
        if table is not None:
            return table
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(
            f"{path} is not a readable Parquet manifest ({_first_line(error)}): {PREPARE_AGAIN}"
        ) from error
    return _write_map(path, _with_every_column(table))


def write_table(path: Path, table: pa.Table, metadata: Mapping[str, str]) -> None:
    """The manifest and its map at `path`, complete or not there at all.

    Raises OSError where the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        schema = SCHEMA.with_metadata({**metadata, "version": str(VERSION)})
        with replacing(path) as temporary:
            pq.write_table(pa.table(table.columns, schema=schema), temporary)
        _write_map(path, table)
    except OSError as error:
        raise OSError(
            f"cannot write {path} ({error.strerror or _first_line(error)}): "
            "expected a folder you may write to; choose another output folder"
        ) from error


def _with_every_column(table: pa.Table) -> pa.Table:
    """The table of a manifest of any readable version with the columns of today's."""
    if "is_generated" in table.column_names:
        return table
    return table.append_column(SCHEMA.field("is_generated"), pa.repeat(False, len(table)))


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place when the block ends well."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def _write_map(path: Path, table: pa.Table) -> pa.Table:
    """The table as an Arrow file beside the manifest, or in the user's cache; opened again."""
    stamp = _stamp(path)
    for name in _REPEATED:
        position = table.schema.get_field_index(name)
        table = table.set_column(position, name, table.column(name).dictionary_encode())
    table = table.combine_chunks().replace_schema_metadata({"stamp": stamp})
    for place in (_map_beside(path), _map_in_cache(path)):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with (
                replacing(place) as temporary,
                pa.OSFile(str(temporary), "wb") as sink,
                pa.ipc.new_file(sink, table.schema) as writer,
            ):
                writer.write_table(table, max_chunksize=len(table))
        except OSError:
            continue  # A read-only data folder is no fault: the cache is the second place.
        mapped = _open_map(place, stamp)
        if mapped is not None:
            return mapped
    raise OSError(
        f"cannot write the map of {path} beside it or to {_map_in_cache(path).parent}: "
        "expected one of them to be writable with room for it"
    )


def _open_map(place: Path, stamp: str) -> pa.Table | None:
    """The mapped table, or None where there is none or it belongs to another manifest."""
    try:
        table = pa.ipc.open_file(pa.memory_map(str(place))).read_all()
    except (pa.ArrowException, OSError):
        return None
    return table if (table.schema.metadata or {}).get(b"stamp") == stamp.encode() else None


def _stamp(path: Path) -> str:
    """What tells a map that it was made from the very file at `path`."""
    state = path.stat()
    metadata = _schema_of(path).metadata or {}
    content = metadata.get(b"sha256", b"").decode()
    return json.dumps([VERSION, content, state.st_size, state.st_mtime_ns])


def _schema_of(path: Path) -> pa.Schema:
    """The schema in the head of a Parquet file."""
    # Given a path, Arrow sets up its file systems: 4 MiB of every loader worker's own memory.
    with path.open("rb") as file:
        return pq.read_schema(file)


def _map_beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.arrow")


def _map_in_cache(path: Path) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    name = str(path.resolve()).replace(os.sep, "_")[-150:]
    folder = Path(home) / "diffuse_defect"
    return (folder if folder.parent.is_dir() else Path(tempfile.gettempdir())) / f"{name}.arrow"


def _first_line(error: Exception) -> str:
    return str(error).split("\n", maxsplit=1)[0]
