"""Manifests that are no manifests any more, read by the source that merges them."""

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.datamodules.malformed.damage import Case, Damage, cut, put

FILE = "tiles/manifest.parquet"
KEYS = ("root", "source", "sha256", "split_sha256", "leaks", "vocabulary")
Head = Mapping[str, str]


def files() -> Iterator[Case]:
    """Files that are cut, of another kind or of another version."""
    for share in (0.0, 0.02, 0.3, 0.9, 0.99):
        yield Case(f"manifest cut at {share:.0%}", "merged", cut(FILE, share))
    for name, content in {"text": b"no Parquet", "zeros": bytes(500), "magic": b"PAR1" * 2}.items():
        yield Case(f"manifest of {name}", "merged", put(FILE, content))
    for version in ("1", "99", "two"):
        damage = head(lambda words, version=version: {**words, "version": version})
        yield Case(f"manifest of version {version}", "merged", damage)
    yield Case("manifest of no version", "merged", head(without("version")))
    yield Case("manifest without a column", "merged", rows(lambda t: t.drop_columns(["group"])))
    renamed = rows(lambda t: t.rename_columns([name.upper() for name in t.column_names]))
    yield Case("manifest of other columns", "merged", renamed)
    empty = rows(lambda table: table.slice(0, 0))
    yield Case("manifest of no rows", "merged", empty)


def heads() -> Iterator[Case]:
    """Manifests whose head lacks a word or holds another kind of it."""
    for key in KEYS:
        yield Case(f"manifest without {key}", "merged", head(without(key)))
    for name, words in {
        "vocabulary cut": {"vocabulary": '[["good"'},
        "vocabulary a number": {"vocabulary": "7"},
        "vocabulary of numbers": {"vocabulary": "[[1, 2]]"},
        "vocabulary empty": {"vocabulary": "[]"},
        "vocabulary nested deeply": {"vocabulary": "[" * 100_000},
        "leaks in words": {"leaks": "few"},
        "root with NUL": {"root": "/etc\0"},
    }.items():
        damage = head(lambda before, words=words: {**before, **words})
        yield Case(f"manifest with {name}", "merged", damage)
    elsewhere = head(lambda words: {**words, "root": "/etc"})
    yield Case("manifest of data elsewhere", "merged", elsewhere)


def cells() -> Iterator[Case]:
    """Manifests with one bad row."""
    for name, change in {
        "image that leads out": ("image", "../../outside.png"),
        "absolute image": ("image", "/etc/passwd"),
        "image with NUL": ("image", "a\0b.png"),
        "image of two lines": ("image", "a\nb.png"),
        "image of no name": ("image", ""),
        "image that is not there": ("image", "zzz.png"),
        "image twice": ("image", "images/val 1.png"),
        "mask that leads out": ("mask", "../../outside.png"),
        "mask that is not there": ("mask", "zzz.png"),
        "mask without values": ("mask_values", []),
        "mask values upside down": ("mask_values", [{"low": 9, "high": 1, "name": "x"}]),
        "type with a bell": ("defects", ["bell\x07"]),
        "window of three": ("window_xywh_px", [1, 2, 3]),
        "window left of it": ("window_xywh_px", [-1, 0, 10, 10]),
        "window too wide": ("window_xywh_px", [0, 0, 500, 10]),
        "window of no size": ("window_xywh_px", [0, 0, 0, 0]),
        "window of negative size": ("window_xywh_px", [0, 0, -5, -5]),
        "width of another picture": ("width_px", 7),
    }.items():
        yield Case(f"manifest with {name}", "merged", cell(*change))
    yield Case("manifest of split learn", "merged", cell("split", "learn"))
    for column in COLUMNS_OF_WORDS:
        name = f"manifest with an empty cell of {column}"
        yield Case(name, "merged", cell(column, None))
    for column in ("mask_values", "regions", "defects"):
        name = f"manifest with an empty part of {column}"
        yield Case(name, "merged", cell(column, [None]))


COLUMNS_OF_WORDS = (
    "image",
    "mask",
    "mask_values",
    "regions",
    "defects",
    "caption",
    "group",
    "source",
    "split",
    "licence",
    "window_xywh_px",
)


def head(change: Callable[[Head], Head]) -> Damage:
    """Writes the manifest again with other words in its head."""
    return Damage(FILE, lambda root: write_again(root / FILE, change=change))


def rows(change: Callable[[pa.Table], pa.Table]) -> Damage:
    """Writes the manifest again with another table."""
    return Damage(FILE, lambda root: write_again(root / FILE, table=change))


def cell(column: str, value: object) -> Damage:
    """Writes the manifest again with another value in its first row."""

    def change(table: pa.Table) -> pa.Table:
        place = table.schema.get_field_index(column)
        field = table.schema.field(place)
        values = [value, *table.column(column).to_pylist()[1:]]
        return table.set_column(place, field, pa.array(values, type=field.type))

    return rows(change)


def without(key: str) -> Callable[[Head], Head]:
    """A change of a head that leaves one word out."""
    return lambda words: {name: word for name, word in words.items() if name != key}


def write_again(
    path: Path,
    *,
    change: Callable[[Head], Head] = dict,
    table: Callable[[pa.Table], pa.Table] = lambda whole: whole,
) -> None:
    """The manifest changed, and its map removed, which would be read in its place."""
    content = pq.read_table(path)
    words = {name.decode(): word.decode() for name, word in content.schema.metadata.items()}
    pq.write_table(table(content).replace_schema_metadata(change(words)), path)
    path.with_name(f".{path.name}.arrow").unlink()
