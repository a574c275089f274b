"""Many records inspected at once, by threads or processes, each finished chunk kept at once."""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2

from datamodules.preparing.inspection import Inspection, inspect
from datamodules.preparing.inspection_store import InspectionStore, key_of
from datamodules.sample import Record

CHUNK = 64
# Below this many images, starting processes takes longer than they save.
THREADS_SUFFICE = 4_000
Progress = Callable[[int, int], None]


def inspect_all(
    records: Sequence[Record],
    root: Path,
    *,
    store: InspectionStore,
    workers: int = 0,
    progress: Progress | None = None,
) -> list[Inspection]:
    """The inspections of all records in their order; those in the store are not done again.

    workers: 0 takes one per core. Each finished chunk is kept at once. Raises OSError where the
    store cannot be written or a process was killed.
    """
    keys = [key_of(record, root) for record in records]
    done = [store.find(key) for key in keys]
    left = [row for row, found in enumerate(done) if found is None]
    finished = len(records) - len(left)
    chunks = [left[start : start + CHUNK] for start in range(0, len(left), CHUNK)]
    with _pool(len(left), workers or os.cpu_count() or 1) as pool:
        work = partial(_inspect_chunk, root=root)
        results = pool.map(work, [[records[row] for row in chunk] for chunk in chunks])
        for chunk, inspections in zip(chunks, _whole(results), strict=True):
            store.save((keys[row], found) for row, found in zip(chunk, inspections, strict=True))
            for row, found in zip(chunk, inspections, strict=True):
                done[row] = found
            finished += len(chunk)
            if progress is not None:
                progress(finished, len(records))
    return [found for found in done if found is not None]


def _inspect_chunk(records: Sequence[Record], root: Path) -> list[Inspection]:
    cv2.setNumThreads(1)
    return [inspect(record, root) for record in records]


def _pool(count: int, workers: int) -> Executor:
    if workers == 1 or count < THREADS_SUFFICE:
        return ThreadPoolExecutor(workers)
    # A fork would copy locks that other threads of this process hold.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def _whole(results: Iterator[list[Inspection]]) -> Iterator[list[Inspection]]:
    try:
        yield from results
    except BrokenProcessPool as error:
        raise OSError(
            "a process that inspects images was killed, perhaps for lack of memory: run the same "
            "command again with fewer --workers, finished images are kept"
        ) from error
