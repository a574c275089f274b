"""Kill and resume: the rows of an interrupted epoch beside those of an uninterrupted one.

Real loaders run in real processes, one per rank, which are killed (SIGKILL) in mid-epoch; the
epoch then goes on from the saved state, also with another number of processes.
"""

import json
import os
import signal
import tempfile
import time
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import Dataset

from datamodules.sample import Sample
from datamodules.sampler import Draw, ResumableLoader, ResumableSampler
from experiments.benchmarks.index_memory import ROWS
from experiments.measuring.measurements import BenchSettings, Measurement

VERB = "data"
BATCH_SIZE = 4
KILLED_AFTER = 40
PATIENCE_S = 120
# Numbers of processes of one epoch, one after the other.
JOURNEYS = ((1, 1), (2, 2), (4, 4), (4, 2, 1))
PIXEL = torch.zeros(3, 1, 1), torch.zeros(1, 1, dtype=torch.int64)


class RowsOnly(Dataset[Sample]):
    """Samples that hold nothing but their row."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, draw: Draw) -> Sample:
        """The empty sample of a row."""
        return Sample(*PIXEL, True, "", (), draw.row)


def measure(settings: BenchSettings) -> list[Measurement]:
    """Rows that differ after kills (none is right), and the time to the first resumed sample."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [differing(journey, ROWS, Path(folder)) for journey in JOURNEYS]
    return [*rows, time_to_resume(ROWS)]


def differing(journey: Sequence[int], count: int, folder: Path) -> Measurement:
    """How many of the rows seen on a journey differ from the uninterrupted order, place by place.

    journey: numbers of processes; after each leg all its processes are killed.
    """
    state: dict[str, int] | None = None
    seen: list[int] = []
    for leg, world_size in enumerate(journey):
        path = folder / f"{'-'.join(map(str, journey))}.{leg}"
        state, rows = killed_leg(world_size, count, state, path)
        seen += rows
    expected = [draw.row for draw, _ in zip(ResumableSampler(np.arange(count)), seen, strict=False)]
    wrong = sum(one != other for one, other in zip(seen, expected, strict=True))
    name = "resume: rows that differ, " + " -> ".join(map(str, journey)) + " processes"
    words: dict[str, str | int | float] = {"rows compared": len(seen), "kills": len(journey)}
    return Measurement(name, float(wrong), 0.0, "rows", 1.0 if wrong == 0 else 0.0, 1.0, words)


def killed_leg(
    world_size: int, count: int, state: dict[str, int] | None, path: Path
) -> tuple[dict[str, int], list[int]]:
    """The last state that all ranks had reached when they were killed, and the rows up to it."""
    context = get_context("spawn")
    ranks = [
        context.Process(target=read_rows, args=(rank, world_size, count, state, path))
        for rank in range(world_size)
    ]
    for rank in ranks:
        rank.start()
    logs = [path.with_name(f"{path.name}.rank{rank}") for rank in range(world_size)]
    patience = time.monotonic() + PATIENCE_S
    while min(len(whole_lines(log)) for log in logs) < KILLED_AFTER:
        if time.monotonic() > patience:
            raise RuntimeError(f"{world_size} reading processes did not come far enough")
        time.sleep(0.01)
    for rank in ranks:
        os.kill(rank.pid or 0, signal.SIGKILL)
        rank.join()
    batches = [[json.loads(line) for line in whole_lines(log)] for log in logs]
    done = min(map(len, batches))
    # Position p of the order belongs to rank p modulo the number of ranks.
    by_rank = [[row for batch in of_rank[:done] for row in batch["rows"]] for of_rank in batches]
    rows = [row for together in zip(*by_rank, strict=True) for row in together]
    return batches[0][done - 1]["state"], rows


def read_rows(
    rank: int, world_size: int, count: int, state: dict[str, int] | None, path: Path
) -> None:
    """Write rows and state of every batch to the rank's log until somebody kills this process."""
    loader = make_loader(count, rank=rank, world_size=world_size)
    if state is not None:
        loader.load_state_dict(state)
    with path.with_name(f"{path.name}.rank{rank}").open("w", encoding="ascii") as log:
        for batch in loader:
            log.write(json.dumps({"rows": batch.row.tolist(), "state": loader.state_dict()}) + "\n")
            log.flush()
            time.sleep(0.002)


def whole_lines(log: Path) -> list[str]:
    """The finished lines of a log that may be cut off in the middle of one."""
    if not log.is_file():
        return []
    return log.read_text(encoding="ascii").split("\n")[:-1]


def make_loader(count: int, *, rank: int = 0, world_size: int = 1) -> ResumableLoader:
    """A loader of one rank over `count` rows."""
    sampler = ResumableSampler(np.arange(count), rank=rank, world_size=world_size)
    return ResumableLoader(RowsOnly(count), sampler, batch_size=BATCH_SIZE)


def time_to_resume(count: int) -> Measurement:
    """Seconds to the first batch at four fifths of an epoch, beside those at its start."""
    seconds = []
    for consumed in (count * 4 // 5, 0):
        loader = make_loader(count)
        loader.load_state_dict({**loader.state_dict(), "consumed": consumed})
        start = time.perf_counter()
        next(iter(loader))
        seconds.append(time.perf_counter() - start)
    late, early = seconds
    words: dict[str, str | int | float] = {"rows": count, "resumed at": count * 4 // 5}
    return Measurement(
        "resume: seconds to the first batch", late, early, "s", early / late, 1.0, words
    )
