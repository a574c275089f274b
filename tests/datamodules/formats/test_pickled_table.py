"""Pickled tables are read whole, and nothing that a pickle asks for is run."""

import io
import pickle
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from datamodules.formats.pickled_table import read_pickled_columns
from tests.datamodules.formats.pickle_writer import (
    Call,
    Name,
    object_array,
    old_array,
    old_frame,
    write_pickle,
)

MAPS = [np.arange(6, dtype=np.uint8).reshape(2, 3), np.zeros((1, 2), np.uint8)]
WORDS = [np.array([["Loc"]]), np.zeros((0, 0))]


def save(folder: Path, content: bytes) -> Path:
    path = folder / "table.pkl"
    path.write_bytes(content)
    return path


def frame() -> pd.DataFrame:
    table = pd.DataFrame({"map": MAPS, "word": WORDS, "lot": ["a", "b"]}, dtype=object)
    table.columns = pd.Index(["map", "word", "lot"], dtype=object)
    table["size"] = np.array([1.5, 2.5])
    return table


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_table_of_todays_pandas_is_read(tmp_path, protocol):
    path = save(tmp_path, pickle.dumps(frame(), protocol=protocol))
    columns = read_pickled_columns(path, ("map", "word", "lot", "size"))
    assert columns["lot"] == ["a", "b"]
    assert columns["size"] == [1.5, 2.5]
    for name, arrays in (("map", MAPS), ("word", WORDS)):
        for read, written in zip(columns[name], arrays, strict=True):
            np.testing.assert_array_equal(read, written, strict=True)


def test_a_table_of_old_pandas_and_python_2_is_read(tmp_path):
    content = write_pickle(old_frame({"map": MAPS, "word": WORDS, "lot": ["a", "b"]}))
    columns = read_pickled_columns(save(tmp_path, content), ("map", "word", "lot"))
    assert columns["lot"] == ["a", "b"]
    np.testing.assert_array_equal(columns["map"][0], MAPS[0], strict=True)
    np.testing.assert_array_equal(columns["word"][0], WORDS[0], strict=True)


def test_the_old_table_is_what_pandas_reads_too():
    content = write_pickle(old_array(MAPS[0]))
    np.testing.assert_array_equal(pickle.loads(content, encoding="latin1"), MAPS[0])


def test_arrays_in_fortran_order_keep_their_cells(tmp_path):
    turned = np.asfortranarray(MAPS[0])
    table = pd.DataFrame({"map": object_array([turned])})
    table.columns = pd.Index(["map"], dtype=object)
    path = save(tmp_path, pickle.dumps(table, protocol=4))
    np.testing.assert_array_equal(read_pickled_columns(path, ("map",))["map"][0], MAPS[0])


def test_columns_that_nobody_wants_are_left_out(tmp_path):
    path = save(tmp_path, pickle.dumps(frame(), protocol=2))
    assert list(read_pickled_columns(path, ("lot", "absent"))) == ["lot"]


def touching(marker: Path) -> str:
    return f"touch {marker}"


def test_the_trap_is_a_real_one(tmp_path):
    marker = tmp_path / "sprung"
    pickle.loads(write_pickle(Call(Name("os", "system"), (touching(marker),))))
    assert marker.exists()


def python_of(marker: Path) -> str:
    return f"__import__('pathlib').Path({str(marker)!r}).touch()"


TRAPS = {
    "os.system": lambda m: Call(Name("os", "system"), (touching(m),)),
    "posix.system": lambda m: Call(Name("posix", "system"), (touching(m),)),
    "subprocess": lambda m: Call(Name("subprocess", "getoutput"), (touching(m),)),
    "eval": lambda m: Call(Name("builtins", "eval"), (python_of(m),)),
    "eval of Python 2": lambda m: Call(Name("__builtin__", "eval"), (python_of(m),)),
    "exec": lambda m: Call(Name("builtins", "exec"), (python_of(m),)),
    "import": lambda m: Call(Name("builtins", "__import__"), ("os",)),
    "getattr": lambda m: Call(Name("builtins", "getattr"), (Name("os", "path"), "os")),
    "getattr of a call": lambda m: Call(
        Name("builtins", "getattr"), (Call(Name("builtins", "__import__"), ("os",)), "system")
    ),
    "numpy.load": lambda m: Call(Name("numpy", "load"), (str(m), None, True)),
    "numpy.loads": lambda m: Call(Name("numpy", "loads"), ("cos\nsystem\n",)),
    "numpy's runstring": lambda m: Call(
        Name("numpy.testing._private.utils", "runstring"), (python_of(m), {})
    ),
    "numpy's myeval": lambda m: Call(Name("numpy.f2py.crackfortran", "myeval"), (python_of(m),)),
    "pandas.eval": lambda m: Call(Name("pandas", "eval"), (f"@{python_of(m)}",)),
    "pandas.read_pickle": lambda m: Call(Name("pandas", "read_pickle"), (str(m),)),
    "dotted name": lambda m: Call(Name("pandas", "compat.os.system"), (touching(m),)),
    "dotted known name": lambda m: Call(Name("pandas", "DataFrame.eval"), (python_of(m),)),
    "known name elsewhere": lambda m: Call(Name("os", "DataFrame"), (touching(m),)),
    "attrgetter": lambda m: Call(Name("operator", "attrgetter"), ("system",)),
    "partial": lambda m: Call(Name("functools", "partial"), (Name("os", "system"), touching(m))),
    "run_code": lambda m: Call(Name("runpy", "_run_code"), (python_of(m), {})),
    "code object": lambda m: Call(Name("types", "CodeType"), (0,)),
    "bytearray": lambda m: Call(Name("builtins", "bytearray"), (2_000_000_000,)),
    "reconstructor": lambda m: Call(Name("copyreg", "_reconstructor"), (Name("os", "system"),)),
}


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("place", ["alone", "in a cell", "as a state"])
def test_a_booby_trap_runs_nothing(tmp_path, trap, place):
    marker = tmp_path / "sprung"
    value = TRAPS[trap](marker)
    if place == "in a cell":
        value = old_frame({"map": [value]})
    if place == "as a state":
        value = Call(Name("pandas.core.frame", "DataFrame"), (), state=value, is_new=True)
    path = save(tmp_path, write_pickle(value))
    with pytest.raises(ValueError, match=r"is not a plain pandas table .*it asks for .*convert it"):
        read_pickled_columns(path, ("map",))
    assert not marker.exists()


def test_a_named_module_is_not_even_imported(tmp_path, monkeypatch):
    (tmp_path / "trap_on_import.py").write_text("raise SystemExit", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    path = save(tmp_path, write_pickle(Call(Name("trap_on_import", "DataFrame"))))
    with pytest.raises(ValueError, match="it asks for trap_on_import"):
        read_pickled_columns(path, ("map",))
    assert "trap_on_import" not in sys.modules


class _Persistent(pickle.Pickler):
    def persistent_id(self, obj: object) -> object:
        return "an outside object" if obj == "outside" else None


def test_outside_objects_are_refused(tmp_path):
    buffer = io.BytesIO()
    _Persistent(buffer).dump(["outside"])
    with pytest.raises(ValueError, match="it asks for an outside object"):
        read_pickled_columns(save(tmp_path, buffer.getvalue()), ("map",))


def array_with(**changes: object) -> Call:
    parts = {"shape": (2,), "code": "u1", "order": "|", "data": "ab"} | changes
    dtype = Call(Name("numpy", "dtype"), (parts["code"], 0, 1), (3, parts["order"]))
    return Call(
        Name("numpy.core.multiarray", "_reconstruct"),
        (Name("numpy", "ndarray"), (0,), "b"),
        (1, parts["shape"], dtype, False, parts["data"]),
    )


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        (array_with(shape=(3,)), "has 2 bytes"),
        (array_with(shape=(-2,)), "has the shape"),
        (array_with(shape=(2**30, 2**30)), "has 2 bytes"),
        (array_with(code="O8"), "has not the cells"),
        (array_with(code="V2"), "has the type 'V2'"),
        (array_with(code="u1,O"), "has the type"),
        (array_with(code=Name("numpy", "dtype")), "has the type"),
        (array_with(code="u2", order="?"), "has the byte order"),
        (array_with(code="U1", order="<", shape=(1,), data="\xff\xff\xff\xff"), "no characters"),
        (array_with(data=7), "an array's bytes are a int"),
        (Call(Name("numpy", "ndarray"), (2,)), "instead of a _reconstruct"),
    ],
)
def test_an_array_that_does_not_add_up_is_one_clear_line(tmp_path, cell, words):
    path = save(tmp_path, write_pickle(old_frame({"map": [cell]})))
    with pytest.raises(ValueError, match=words) as error:
        read_pickled_columns(path, ("map",))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a pickle",
        b"\x80\x02.",
        b"\x80\x02}.",
        b"\x80\x09N.",
        write_pickle([1, 2]),
        write_pickle(Name("pandas.core.frame", "DataFrame")),
        write_pickle(Call(Name("pandas.core.frame", "DataFrame"))),
        write_pickle(Call(Name("pandas.core.frame", "DataFrame"), state={"_data": None})),
        write_pickle(old_frame({"map": [1]}))[:-40],
        # A state for the stand-in itself, not for an object of it.
        b"\x80\x02cpandas\nDataFrame\n}U\x05wantedU\x01xsb.",
    ],
)
def test_a_file_that_is_no_table_is_one_clear_line(tmp_path, content):
    with pytest.raises(ValueError, match="is not a plain pandas table") as error:
        read_pickled_columns(save(tmp_path, content), ("map",))
    assert "\n" not in str(error.value)


def test_a_missing_file_is_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_pickled_columns(tmp_path / "absent.pkl", ("map",))


def test_any_flipped_byte_ends_in_a_table_or_a_clear_line(tmp_path):
    content = write_pickle(old_frame({"map": MAPS[:1], "lot": ["a"]}))
    refused = 0
    for place in range(2, len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 0x11
        try:
            read_pickled_columns(save(tmp_path, bytes(damaged)), ("map", "lot"))
        except ValueError:
            refused += 1
    assert refused > len(content) // 2
