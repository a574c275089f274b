"""What an index of 1.24 million rows costs: the mapped manifest beside a list of dicts.

Both hold the same rows. Each side runs in a process of its own; memory is what only that process
has (Private_Dirty of smaps_rollup), so that mapped pages, which all processes share, do not count.
"""

import os
import tempfile
import time
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from datamodules.manifest import Manifest
from datamodules.manifest_file import COLUMNS, SCHEMA, write_table
from experiments.measurements import BenchSettings, Measurement

VERB = "data"
ROWS = 1_240_379  # the pairs of the paper's corpus
WALKED_ROWS = 20_000
MEMORY_MAP = Path("/proc/self/smaps_rollup")
LIMITS = {"seconds": 1.0, "mib": 5.0}
Walk = Callable[[int], object]


def measure(settings: BenchSettings) -> list[Measurement]:
    """Start-up, memory of one process and of one forked worker, and the reading of a row."""
    return measure_rows(ROWS)


def measure_rows(count: int) -> list[Measurement]:
    """The same for an index of `count` rows; ValueError where the system shows no memory map."""
    if not MEMORY_MAP.is_file():
        raise ValueError(f"{MEMORY_MAP} is missing: memory can be measured on Linux only")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "manifest.parquet"
        write_rows(path, count)
        os.sync()  # pages that wait to be written count as private to whoever maps them
        ours = in_own_process(_measure_mapped, path)
        listed = in_own_process(_measure_listed, path)
    words: dict[str, str | int | float] = {"rows": count, "rows walked": min(count, WALKED_ROWS)}
    rows = [
        ("index: seconds to open", "seconds", "s", LIMITS["seconds"]),
        ("index: private memory of a process", "process_mib", "MiB", LIMITS["mib"]),
        ("index: private memory of a forked worker", "worker_mib", "MiB", LIMITS["mib"]),
        ("index: reading a row", "row_us", "us", None),
    ]
    return [
        Measurement(
            name=name,
            ours=ours[key],
            reference=listed[key],
            unit=unit,
            ratio=listed[key] / max(ours[key], 1e-9),
            settings={**words, **({"wanted below": wanted} if wanted else {})},
        )
        for name, key, unit, wanted in rows
    ]


def write_rows(path: Path, count: int) -> None:
    """A manifest of `count` made-up rows at `path`, written by columns."""
    numbers = np.arange(count)
    types = np.array(["crack", "scratch", "dent", "stain"])[numbers % 4]
    caption = {
        "product": "magnetic tile",
        "material": "ferrite",
        "location": "the upper left",
        "morphology": "a small vertical elongated area",
        "cause": "internal stress during cooling",
    }
    captions = pa.StructArray.from_arrays(
        [
            pa.array(types) if name == "defect" else pa.array([caption[name]] * count)
            for name in ("product", "material", "defect", "location", "morphology", "cause")
        ],
        names=["product", "material", "defect", "location", "morphology", "cause"],
    )
    images = [f"set{k % 26:02d}/images/{k:07d}.jpg" for k in numbers]
    columns: dict[str, pa.Array] = {
        "image": pa.array(images),
        "mask": pa.array([name.replace("images", "masks") for name in images]),
        "caption": captions,
        "defects": pa.array([[name] for name in types]),
        "released_caption": pa.array(["A long caption of some forty words. " * 6] * count),
        "group": pa.array([f"run{k // 4:06d}" for k in numbers]),
        "source": pa.array([f"set{k % 26:02d}" for k in numbers]),
        "split": pa.array(np.array(["train", "train", "val", "test"])[numbers % 4]),
        "sha256": pa.array([f"{k:064x}" for k in numbers]),
    }
    arrays = [
        columns[name] if name in columns else _filled(kind, count)
        for name, (kind, _) in COLUMNS.items()
    ]
    metadata = {"root": "/", "vocabulary": '[["good"],["crack"],["dent"],["scratch"],["stain"]]'}
    metadata |= {"source": "made", "sha256": "0" * 64, "split_sha256": "0" * 64, "leaks": "0"}
    cast = [array.cast(field.type) for array, field in zip(arrays, SCHEMA, strict=True)]
    write_table(path, pa.table(cast, SCHEMA), metadata)


def in_own_process(work: Callable[[Path, Connection], None], path: Path) -> dict[str, float]:
    """What `work` sends back from a fresh process; RuntimeError where it ended without."""
    context = get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(path, sender))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError as error:
        raise RuntimeError("a measuring process ended without a result") from error
    finally:
        process.join()


def private_mib() -> float:
    """Memory in MiB that this process has written to and shares with no other."""
    lines = MEMORY_MAP.read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty")) / 1024


def _measure_mapped(path: Path, sender: Connection) -> None:
    start = private_mib(), time.perf_counter()
    manifest = Manifest.open(path)
    seconds = time.perf_counter() - start[1]
    _report(sender, start[0], seconds, len(manifest), lambda row: manifest[row])


def _measure_listed(path: Path, sender: Connection) -> None:
    start = private_mib(), time.perf_counter()
    rows = pq.read_table(path).to_pylist()
    seconds = time.perf_counter() - start[1]
    _report(sender, start[0], seconds, len(rows), lambda row: dict(rows[row]))


def _report(sender: Connection, before: float, seconds: float, count: int, read: Walk) -> None:
    places = np.random.default_rng(0).permutation(count)[:WALKED_ROWS].tolist()
    start = time.perf_counter()
    for row in places:
        read(row)
    row_us = (time.perf_counter() - start) / len(places) * 1e6
    figures = {"seconds": seconds, "row_us": row_us, "process_mib": private_mib() - before}
    sender.send(figures | {"worker_mib": _in_a_fork(read, places)})
    sender.close()


def _in_a_fork(read: Walk, places: list[int]) -> float:
    """The memory that a forked worker comes to own by reading the rows."""
    entry, exit_ = os.pipe()
    if os.fork() == 0:
        before = private_mib()
        for row in places:
            read(row)
        os.write(exit_, str(private_mib() - before).encode())
        os._exit(0)
    os.close(exit_)
    with os.fdopen(entry) as answer:
        grown = float(answer.read())
    os.wait()
    return grown


def _filled(kind: pa.DataType, count: int) -> pa.Array:
    """Empty words, lists or zeros for a column that plays no part here."""
    empty: object = [] if pa.types.is_list(kind) else 0 if pa.types.is_integer(kind) else ""
    return pa.array([empty] * count, kind)
