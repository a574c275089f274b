"""Wafer tables: traps and damage in the pickle, in its conversion, and in the drawn maps."""

import importlib
import io
import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from tests.datamodules.formats.pickle_writer import Call, Name, write_pickle
from tests.datamodules.malformed.damage import Case, Damage, both, cut, drop, put
from tests.datamodules.sources.layouts import wm811k as layout

TABLE, CONVERTED, INDEX = "LSWMD.pkl", "wm811k.npz", "wafer_maps/index.csv"
HEAD = b"1,LSWMD.pkl,100\r\n"
TRAPS = {
    "os.system": Call(Name("os", "system"), ("touch sprung",)),
    "posix.system": Call(Name("posix", "system"), ("touch sprung",)),
    "subprocess": Call(Name("subprocess", "getoutput"), ("touch sprung",)),
    "eval": Call(Name("builtins", "eval"), ("open('sprung', 'w')",)),
    "import": Call(Name("builtins", "__import__"), ("os",)),
    "numpy.load": Call(Name("numpy", "load"), ("x.npy", None, True)),
    "pandas.eval": Call(Name("pandas", "eval"), ("@open('sprung', 'w')",)),
    "an outside object": Name("copyreg", "_reconstructor"),
}


def pickles() -> Iterator[Case]:
    """Pickles that are cut, no tables, or traps."""
    for share in (0.0, 0.05, 0.5, 0.99):
        yield Case(f"pickle cut at {share:.0%}", "wm811k", cut(TABLE, share))
    for name, content in {
        "text": b"hello",
        "HTML": b"<html></html>",
        "ZIP": b"PK\x03\x04" + bytes(50),
        "zeros": bytes(100),
        "another protocol": b"\x80\x63.",
        "marks": b"\x80\x02" + b"(" * 100_000 + b".",
        "nested lists": b"\x80\x02" + b"]" * 50_000 + b"a" * 49_999 + b".",
        "a dict": pickle.dumps({"a": 1}),
        "a number": pickle.dumps(7),
    }.items():
        yield Case(f"pickle of {name}", "wm811k", put(TABLE, content))
    for name, trap in TRAPS.items():
        yield Case(f"pickle that asks for {name}", "wm811k", put(TABLE, write_pickle(trap)))


def wafers() -> Iterator[Case]:
    """Tables with a missing column or one bad wafer."""
    for column in ("waferMap", "failureType", "trianTestLabel"):
        content = pickle.dumps(layout.table().drop(columns=column), protocol=2)
        yield Case(f"wafers without {column}", "wm811k", put(TABLE, content))
    for name, column, cell in (
        ("of three dimensions", "waferMap", np.zeros((2, 2, 2), np.uint8)),
        ("without dies", "waferMap", np.zeros((0, 0), np.uint8)),
        ("of a die 9", "waferMap", np.full((3, 3), 9, np.uint8)),
        ("of negative dies", "waferMap", np.full((3, 3), -1, np.int8)),
        ("of NaN", "waferMap", np.full((3, 3), np.nan)),
        ("of text", "waferMap", "abc"),
        ("of a number", "waferMap", 7),
        ("of an unknown pattern", "failureType", layout.box("Unicorn")),
        ("of a pattern of two lines", "failureType", layout.box("a\nb")),
        ("of an unknown split", "trianTestLabel", layout.box("Learn")),
    ):
        yield Case(f"wafer {name}", "wm811k", put(TABLE, table_with(column, cell)))


def conversions() -> Iterator[Case]:
    """The pickle converted to .npz, and what is wrong with that."""
    whole: dict[str, np.ndarray] = {
        "dies": np.ones(6, np.uint8),
        "shapes": np.array([[2, 3]]),
        "lots": np.array(["a"]),
        "splits": np.array(["Test"]),
        "types": np.array(["none"]),
    }
    for name, change in {
        "with objects": {"lots": np.array([{"a": 1}], dtype=object)},
        "with negative shapes": {"shapes": np.array([[-2, -3]])},
        "with huge shapes": {"shapes": np.array([[2**40, 2**40]])},
        "with shapes of NaN": {"shapes": np.array([[2.0, np.nan]])},
        "with flat shapes": {"shapes": np.array([6])},
        "with shapes of three": {"shapes": np.array([[1, 2, 3]])},
        "with too few dies": {"dies": np.ones(3, np.uint8)},
        "with too many lots": {"lots": np.array(["a", "b"])},
    }.items():
        written = io.BytesIO()
        np.savez(written, **{**whole, **change})
        damage = both(put(CONVERTED, written.getvalue()), drop(TABLE))
        yield Case(f"conversion {name}", "wm811k", damage)
    for name, content in {"text": b"x", "no bytes": b"", "ZIP": b"PK\x03\x04" + bytes(30)}.items():
        damage = both(put(CONVERTED, content), drop(TABLE))
        yield Case(f"conversion of {name}", "wm811k", damage)


def indexes() -> Iterator[Case]:
    """Drawn maps whose index is bad, where the table is not there to draw them anew."""
    row = b"0000/000000.png,l,Test,none,\r\n"
    for name, content in {
        "of no bytes": b"",
        "not in UTF-8": b"\xff\xfe",
        "of another version": b"9,LSWMD.pkl,100\r\n" + row,
        "of a short row": HEAD + b"0000/000000.png\r\n",
        "with an open quote": HEAD + b'"' + row,
        "of a wafer twice": HEAD + row + row,
        "with NUL": HEAD + b"0000/\0.png,l,Test,none,\r\n",
        "with a path that leads out": HEAD + b"../../outside.png,l,Test,none,\r\n",
        "with an absolute path": HEAD + b"/etc/passwd,l,Test,none,\r\n",
        "with a huge cell": HEAD + b"a" * 200_000 + b",l,Test,none,\r\n",
    }.items():
        yield Case(f"index {name}", "wm811k", drawn(INDEX, content))
    yield Case("map that is cut", "wm811k", drawn("wafer_maps/0000/000001.png", b"\x89PNG\r\n"))


def table_with(column: str, cell: object) -> bytes:
    """The pickled table of the fake layout with another cell in its first row."""
    table = layout.table()
    cells = pd.Series([None] * len(table), dtype=object)
    for place, value in enumerate([cell, *list(table[column])[1:]]):
        cells.iat[place] = value
    table[column] = cells
    return pickle.dumps(table, protocol=2)


def drawn(path: str, content: bytes) -> Damage:
    """Draws the maps, removes the table, and writes content over one of the drawn files."""

    def act(root: Path) -> None:
        importlib.import_module("datamodules.sources.wm811k").Wm811k().records(root)
        (root / TABLE).unlink()
        (root / path).write_bytes(content)

    return Damage(path, act)
