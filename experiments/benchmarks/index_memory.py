"""What an index of 1.24 million rows costs: the mapped manifest beside a list of dicts.

Both hold the same rows. Each side runs in a process of its own; memory is what only that process
has (Private_Dirty of smaps_rollup), so that mapped pages, which all processes share, do not count.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from torch.utils.data import DataLoader, Dataset

from datamodules.manifest import COLUMNS, SCHEMA, Manifest, write_table
from experiments.measuring.measurements import BenchSettings, Measurement

VERB = "data"
ROWS = 1_240_379  # the pairs of the paper's corpus
WALKED_ROWS = 20_000
MEMORY_MAP = Path("/proc/self/smaps_rollup")
LIMITS = {"seconds": 1.0, "mib": 5.0}
# What else than the list stands on the other side.
REFERENCES = {
    "spawned_mib": "the list in its own process: a worker would get a copy",
    "start_seconds": "a worker without an index",
}
Walk = Callable[[int], object]


class RowReader(Dataset[tuple[float, float]]):
    """The moment and the worker's private memory in MiB after the rows of a draw were read."""

    def __init__(self, index: Manifest | range) -> None:
        self.index = index

    def __getitem__(self, rows: Sequence[int]) -> tuple[float, float]:
        """Monotonic seconds, which all processes count alike, and MiB."""
        for row in rows:
            self.index[row]
        return time.monotonic(), private_mib()


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
        ours = in_own_process(partial(_measure_mapped, count=count), path)
        listed = in_own_process(partial(_measure_listed, count=count), path)
    words: dict[str, str | int | float] = {"rows": count, "rows walked": min(count, WALKED_ROWS)}
    listed |= {"spawned_mib": listed["process_mib"], "start_seconds": ours["bare_start_seconds"]}
    rows = [
        ("index: seconds to open", "seconds", "s", LIMITS["seconds"]),
        ("index: private memory of a process", "process_mib", "MiB", LIMITS["mib"]),
        ("index: private memory of a forked worker", "worker_mib", "MiB", LIMITS["mib"]),
        ("index: private memory of a spawned worker", "spawned_mib", "MiB", LIMITS["mib"]),
        ("index: seconds to a spawned worker's first row", "start_seconds", "s", None),
        ("index: reading a row", "row_us", "us", None),
    ]
    return [
        Measurement(
            name=name,
            ours=ours[key],
            reference=listed[key],
            unit=unit,
            ratio=listed[key] / max(ours[key], 1e-9),
            settings={
                **words,
                **({"wanted below": wanted} if wanted else {}),
                **({"reference": REFERENCES[key]} if key in REFERENCES else {}),
            },
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


def _measure_mapped(path: Path, sender: Connection, *, count: int) -> None:
    places = _places(count)
    before, start = private_mib(), time.perf_counter()
    manifest = Manifest.open(path)
    figures = {"seconds": time.perf_counter() - start}
    figures |= _walk(before, places, lambda row: manifest[row])
    bare_start, bare_mib = _in_a_spawned_worker(range(len(manifest)), places)
    figures["start_seconds"], spawned_mib = _in_a_spawned_worker(manifest, places)
    figures |= {"bare_start_seconds": bare_start, "spawned_mib": spawned_mib - bare_mib}
    sender.send(figures)
    sender.close()


def _measure_listed(path: Path, sender: Connection, *, count: int) -> None:
    places = _places(count)
    before, start = private_mib(), time.perf_counter()
    rows = pq.read_table(path).to_pylist()
    figures = {"seconds": time.perf_counter() - start}
    figures |= _walk(before, places, lambda row: dict(rows[row]))
    sender.send(figures)
    sender.close()


def _places(count: int) -> list[int]:
    return np.random.default_rng(0).permutation(count)[:WALKED_ROWS].tolist()


def _walk(before: float, places: list[int], read: Walk) -> dict[str, float]:
    """Microseconds a row, and what this process and a forked worker come to own."""
    start = time.perf_counter()
    for row in places:
        read(row)
    row_us = (time.perf_counter() - start) / len(places) * 1e6
    process_mib = private_mib() - before
    return {"row_us": row_us, "process_mib": process_mib, "worker_mib": _in_a_fork(read, places)}


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


def _in_a_spawned_worker(index: Manifest | range, places: list[int]) -> tuple[float, float]:
    """Seconds to the first row that a loader's worker reads, and its memory after the last."""
    draws = [places[start : start + 1000] for start in range(1, len(places), 1000)]
    loader = DataLoader(
        RowReader(index),
        sampler=[places[:1], *draws],  # type: ignore[arg-type]
        batch_size=None,
        num_workers=1,
        multiprocessing_context="spawn",
    )
    start = time.monotonic()
    read = list(loader)
    return read[0][0] - start, read[-1][1]


def _filled(kind: pa.DataType, count: int) -> pa.Array:
    """Empty words, lists, zeros or no for a column that plays no part here."""
    if pa.types.is_boolean(kind):
        return pa.repeat(False, count)
    empty: object = [] if pa.types.is_list(kind) else 0 if pa.types.is_integer(kind) else ""
    return pa.array([empty] * count, kind)
