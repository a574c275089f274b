"""A pickled pandas table -> its columns, without running anything that the pickle asks for.

Nothing of numpy, pandas or Python is handed to the unpickler: each name that a table needs becomes
an inert stand-in which only notes its arguments, and every other name is refused. The arrays are
built afterwards, from notes that were checked.
"""

import math
import pickle
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

REMEDY = (
    "convert it to .npz as CONVERSION in datamodules/sources/wm811k.py does, "
    "or take the original file again"
)
# Python 2 wrote __builtin__ and copy_reg; numpy moved core to _core.
_PLAIN_NAMES = {
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
    ("__builtin__", "slice"),
    ("builtins", "slice"),
    ("__builtin__", "bytes"),
    ("builtins", "bytes"),
    *(
        (f"numpy.{core}.{module}", name)
        for core in ("core", "_core")
        for module, name in (
            ("multiarray", "_reconstruct"),
            ("multiarray", "scalar"),
            ("numeric", "_frombuffer"),
        )
    ),
}
_PANDAS_MODULE = re.compile(r"pandas(\.[a-z_]+)*")
# pandas moved these between modules many times: any of its modules will do for them.
_PANDAS_NAMES = {
    "DataFrame",
    "BlockManager",
    "Index",
    "Int64Index",
    "RangeIndex",
    "_new_Index",
    "_unpickle_block",
    "new_block",
}
_DTYPE = re.compile(r"[biufSUO]\d{1,5}")
_UNPICKLING_ERRORS = (
    pickle.UnpicklingError,
    AttributeError,
    EOFError,
    ImportError,
    IndexError,
    KeyError,
    OverflowError,
    TypeError,
    ValueError,
)


class _StandIn:
    """What a pickle wanted to call or build: the arguments and the state, noted and never used."""

    __slots__ = ("arguments", "state")
    wanted: ClassVar[str] = ""
    # Whatever the pickle says: every use below is checked or caught.
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: object) -> "_StandIn":
        """A note of a call; whatever the arguments, nothing is called."""
        noted = object.__new__(cls)
        noted.arguments = arguments
        noted.state = None
        return noted

    def __setstate__(self, state: object) -> None:
        """Note the state; without this method the unpickler would set attributes itself."""
        self.state = state


def _stand_in(name: str) -> type[_StandIn]:
    return type(name, (_StandIn,), {"__slots__": (), "wanted": name})


class _InertUnpickler(pickle.Unpickler):
    """Reads every name as a stand-in; UnpicklingError for names that no table needs."""

    def find_class(self, module: str, name: str) -> type[_StandIn]:
        """A stand-in for a known name: no module is imported and no attribute is looked up."""
        of_pandas = name in _PANDAS_NAMES and _PANDAS_MODULE.fullmatch(module)
        if not of_pandas and (module, name) not in _PLAIN_NAMES:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}"[:120])
        return _KINDS[name]

    def persistent_load(self, pid: object) -> object:
        """Refused: a table has no outside objects."""
        raise pickle.UnpicklingError("it asks for an outside object")


_KINDS = {name: _stand_in(name) for name in {*_PANDAS_NAMES, *(n for _, n in _PLAIN_NAMES)}}


def read_pickled_columns(path: Path, names: Sequence[str]) -> dict[str, list[object]]:
    """The wanted columns of a pickled DataFrame: lists of str, numbers and numpy arrays.

    Columns that the table lacks are left out. Reads pandas 0.15 and later, all protocols.
    Raises FileNotFoundError, or ValueError for a pickle that asks for anything else than a table
    or is damaged; nothing in it was run. A crafted file may still exhaust the memory.
    """
    try:
        with path.open("rb") as file:
            # Python 2 wrote the bytes of arrays as text.
            frame = _InertUnpickler(file, encoding="latin1").load()
        return _columns_of(frame, names)
    except MemoryError as error:
        raise ValueError(
            f"pickle {path} needs more memory than this machine has free: {REMEDY}"
        ) from error
    except _UNPICKLING_ERRORS as error:
        reason = str(error).split("\n", maxsplit=1)[0] or type(error).__name__
        raise ValueError(
            f"pickle {path} is not a plain pandas table ({reason}): expected one of numbers, "
            f"text and arrays, nothing in it was run; {REMEDY}"
        ) from error


def _columns_of(frame: object, names: Sequence[str]) -> dict[str, list[object]]:
    state = _as(frame, "DataFrame").state
    if not isinstance(state, dict):
        raise ValueError("its DataFrame has no state")
    manager = _as(state.get("_mgr", state.get("_data")), "BlockManager")
    axes, blocks = _parts_of(manager)
    labels = _axis_labels(axes[0])
    columns: dict[str, list[object]] = {}
    for values, placement in blocks:
        cells, shape = _cells_of(values)
        places = _places_of(placement, shape[0])
        for row, place in enumerate(places):
            if labels[place] in names:
                columns[labels[place]] = cells(row)
    if len({len(column) for column in columns.values()}) > 1:
        raise ValueError("its columns have different lengths")
    return columns


def _parts_of(manager: _StandIn) -> tuple[Sequence[object], list[tuple[object, object]]]:
    """Axes, and (values, placement) of each block, of the newer and of the older form."""
    if manager.arguments:
        blocks, axes = manager.arguments[:2]
        noted = [block.arguments for block in blocks]
        return axes, [(arguments[0], arguments[1]) for arguments in noted]
    extra = manager.state[3]["0.14.1"]
    return extra["axes"], [(block["values"], block["mgr_locs"]) for block in extra["blocks"]]


def _axis_labels(axis: object) -> list[str]:
    noted = _as(axis, "_new_Index").arguments
    return [str(label) for label in _array_of(noted[1]["data"]).tolist()]


def _places_of(placement: object, count: int) -> list[int]:
    if isinstance(placement, _StandIn) and type(placement).wanted == "slice":
        bounds = placement.arguments
        start, stop, step = bounds if len(bounds) == 3 else (*bounds, 1)
        places = list(range(start, stop, step or 1)[: count + 1])
    else:
        places = [int(place) for place in _array_of(placement).tolist()]
    if len(places) != count:
        raise ValueError(f"a block of {count} columns has {len(places)} places")
    return places


def _cells_of(values: object) -> tuple[Callable[[int], list[object]], tuple[int, ...]]:
    """A function that gives the cells of a row of the block, and the block's shape."""
    array = _array_of(values)
    if array.ndim != 2:
        raise ValueError(f"a block has {array.ndim} dimensions, expected 2")
    return lambda row: [_cell_of(cell) for cell in array[row].tolist()], array.shape


def _cell_of(cell: object) -> object:
    """A cell as a plain value, or as an array where it holds one."""
    if not isinstance(cell, _StandIn):
        return cell
    if type(cell).wanted == "scalar":
        dtype, data = cell.arguments
        return np.frombuffer(_bytes_of(data), dtype=_dtype_of(dtype), count=1)[0].item()
    return _array_of(cell)


def _array_of(noted: object) -> np.ndarray:
    """The array that a stand-in describes; ValueError where the description does not add up."""
    noted = _as(noted, "_reconstruct", "_frombuffer")
    if type(noted).wanted == "_frombuffer":
        data, dtype, shape, order = noted.arguments
        is_fortran = order == "F"
    else:
        _, shape, dtype, is_fortran, data = noted.state
    shape = tuple(int(length) for length in shape)
    if any(length < 0 for length in shape):
        raise ValueError(f"an array has the shape {shape}")
    kind = _dtype_of(dtype)
    if kind == np.dtype(object):
        return _object_array(data, shape)
    raw = _bytes_of(data)
    if len(raw) != math.prod(shape) * kind.itemsize:
        raise ValueError(f"an array of shape {shape} has {len(raw)} bytes")
    # An empty dtype such as U0 has nothing to read.
    if not raw:
        return np.empty(shape, dtype=kind)
    if kind.kind == "U" and np.frombuffer(raw, kind.str[0] + "u4").max() > sys.maxunicode:
        raise ValueError("an array of text holds numbers that are no characters")
    return np.frombuffer(raw, dtype=kind).reshape(shape, order="F" if is_fortran else "C")


def _object_array(cells: object, shape: tuple[int, ...]) -> np.ndarray:
    """An array of objects, filled one by one: numpy would merge arrays of equal shape."""
    if not isinstance(cells, list) or len(cells) != math.prod(shape):
        raise ValueError(f"an array of objects has not the cells of its shape {shape}")
    flat = np.empty(len(cells), dtype=object)
    for place, cell in enumerate(cells):
        flat[place] = cell
    return flat.reshape(shape)


def _dtype_of(noted: object) -> np.dtype:
    noted = _as(noted, "dtype")
    code, state = noted.arguments[0], noted.state
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        raise ValueError(f"an array has the type {str(code)[:40]!r}")
    byte_order = state[1] if isinstance(state, tuple) and len(state) > 1 else "|"
    if byte_order not in ("<", ">", "|", "="):
        raise ValueError(f"an array has the byte order {str(byte_order)[:40]!r}")
    return np.dtype(object) if code[0] == "O" else np.dtype(f"{byte_order}{code}")


def _bytes_of(data: object) -> bytes | bytearray:
    """The bytes of an array, however the protocol wrote them."""
    if isinstance(data, str):
        return data.encode("latin1")
    if isinstance(data, _StandIn) and type(data).wanted == "encode":
        return str(data.arguments[0]).encode("latin1")
    if isinstance(data, _StandIn) and type(data).wanted == "bytes":
        return b""
    if not isinstance(data, bytes | bytearray):
        raise ValueError(f"an array's bytes are a {type(data).__name__}")
    return data


def _as(noted: object, *wanted: str) -> _StandIn:
    if not isinstance(noted, _StandIn) or type(noted).wanted not in wanted:
        raise ValueError(f"it holds a {type(noted).__name__} instead of a {wanted[0]}")
    return noted
