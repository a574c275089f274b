"""Pickles of protocol 2 as Python 2 wrote them, also those that no honest program would write."""

import struct
from dataclasses import dataclass

import numpy as np

INDEXES = "pandas.indexes.base"


@dataclass(frozen=True)
class Name:
    """A global name, which a plain unpickler would import."""

    module: str
    name: str


@dataclass(frozen=True)
class Call:
    """A call of a name; `is_new` makes an object without a call; then a state is set."""

    function: Name
    arguments: tuple[object, ...] = ()
    state: object = None
    is_new: bool = False


def write_pickle(value: object) -> bytes:
    """The value as a whole pickle of protocol 2."""
    return b"\x80\x02" + _written(value) + b"."


def old_array(array: np.ndarray) -> Call:
    """An array as old numpy pickled it; its raw bytes are text, as they were in Python 2."""
    is_object = array.dtype == object
    code = "O8" if is_object else array.dtype.str[1:]
    order = "|" if is_object else array.dtype.str[0]
    dtype = Call(Name("numpy", "dtype"), (code, 0, 1), (3, order, None, None, None, -1, -1, 0))
    data = array.ravel().tolist() if is_object else array.tobytes().decode("latin-1")
    return Call(
        Name("numpy.core.multiarray", "_reconstruct"),
        (Name("numpy", "ndarray"), (0,), "b"),
        (1, array.shape, dtype, False, data),
    )


def old_frame(columns: dict[str, list[object]]) -> Call:
    """A table of object columns as pandas 0.18 pickled it: axes and blocks in a BlockManager."""
    names, rows = list(columns), len(next(iter(columns.values())))
    values = object_array([cell for cells in columns.values() for cell in cells])
    labels = {"data": old_array(object_array(names)), "name": None}
    axes = [
        Call(Name(INDEXES, "_new_Index"), (Name(INDEXES, "Index"), labels)),
        Call(
            Name(INDEXES, "_new_Index"),
            (Name("pandas.indexes.range", "RangeIndex"), {"start": 0, "stop": rows, "step": 1}),
        ),
    ]
    places = Call(Name("__builtin__", "slice"), (0, len(names), 1))
    block = old_array(values.reshape(len(names), rows))
    extra = {"0.14.1": {"axes": axes, "blocks": [{"values": block, "mgr_locs": places}]}}
    manager = Call(
        Name("pandas.core.internals", "BlockManager"),
        state=(axes, [block], [axes[0]], extra),
        is_new=True,
    )
    state = {"_metadata": [], "_typ": "dataframe", "_data": manager}
    return Call(Name("pandas.core.frame", "DataFrame"), state=state, is_new=True)


def object_array(cells: list[object]) -> np.ndarray:
    """A flat array of objects, whatever they are."""
    array = np.empty(len(cells), dtype=object)
    for place, cell in enumerate(cells):
        array[place] = cell
    return array


def _written(value: object) -> bytes:
    if isinstance(value, Name):
        return f"c{value.module}\n{value.name}\n".encode()
    if isinstance(value, Call):
        made = _written(value.function) + _written(value.arguments)
        made += b"\x81" if value.is_new else b"R"
        return made if value.state is None else made + _written(value.state) + b"b"
    if isinstance(value, np.ndarray):
        return _written(old_array(value))
    if isinstance(value, dict):
        pairs = b"".join(_written(key) + _written(item) for key, item in value.items())
        return b"}(" + pairs + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_written, value)) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_written, value)) + b"t"
    return _plain(value)


def _plain(value: object) -> bytes:
    if value is None:
        return b"N"
    if isinstance(value, bool):
        return b"\x88" if value else b"\x89"
    if isinstance(value, float):
        return b"G" + struct.pack(">d", value)
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    text = str(value).encode("latin-1")
    return b"T" + struct.pack("<i", len(text)) + text
